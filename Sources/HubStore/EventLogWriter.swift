import NIOCore

/// The file that is being written, and the numbers that come next. Used on the log's writer queue only.
struct EventLogWriter {
    let folder: String
    let options: EventLogOptions
    private var file: EventFile
    private var header: EventSegmentHeader
    /// Where the next block goes; everything before it is on the disk.
    private(set) var position: Int
    /// How far the file has room already.
    private var reserved: Int
    private var mayReserve = true
    private(set) var nextSequences: [Int64]
    /// Of the newest message.
    private(set) var lastTime: Int64
    private(set) var lastTimes: [Int64]
    /// The file no longer holds what was written to it: a flush has failed.
    private var isSuspect = false

    static let reservation = 4 << 20

    var segmentID: UInt64 { header.id }
    var isEmpty: Bool { position == EventSegmentHeader.size }
    var partitions: Int { nextSequences.count }

    /// Opens the newest file and cuts off what a crash left unfinished at its end.
    ///
    /// - Returns: the headers of all files, oldest first, the one that is written to last.
    static func open(
        folder: String, options: EventLogOptions
    ) throws(EventLogError) -> (EventLogWriter, [EventSegmentHeader]) {
        try EventFile.makeFolder(folder)
        let ids = try EventFile.names(in: folder).compactMap(EventSegmentHeader.id(ofFile:)).sorted()
        var headers: [EventSegmentHeader] = []
        for (place, id) in ids.enumerated() {
            let path = EventSegmentHeader.path(id, in: folder)
            let file = try EventFile(path)
            if let header = EventSegmentHeader(try file.read(EventSegmentHeader.size, at: 0)), header.id == id {
                headers.append(header)
                continue
            }
            // A file whose making was cut short is the newest one and holds no block.
            guard place == ids.count - 1, try isBlank(file) else {
                throw .damaged(path: path, reason: "its header does not read")
            }
            EventFile.remove(path)
        }
        guard let newest = headers.last else {
            let header = EventSegmentHeader(
                id: 1, firstSequences: Array(repeating: 0, count: options.partitions), earlierTime: 0)
            return (try EventLogWriter(beginning: header, folder: folder, options: options), [header])
        }
        let writer = try EventLogWriter(continuing: newest, folder: folder, options: options)
        return (writer, headers)
    }

    private static func isBlank(_ file: EventFile) throws(EventLogError) -> Bool {
        let start = try file.read(EventBlockHeader.size, at: EventSegmentHeader.size)
        return start.withUnsafeReadableBytes { EventBlockHeader($0) == nil }
    }

    private init(
        beginning header: EventSegmentHeader, folder: String, options: EventLogOptions
    ) throws(EventLogError) {
        self.folder = folder
        self.options = options
        self.header = header
        let path = EventSegmentHeader.path(header.id, in: folder)
        let created = try EventFile(path, creating: true)
        file = created
        do throws(EventLogError) {
            try header.encoded().withUnsafeReadableBytes { (bytes) throws(EventLogError) in
                try created.write(bytes, at: 0)
            }
            try created.flushAll()
            try EventFile.flushFolder(folder)
        } catch {
            EventFile.remove(path)
            throw error
        }
        position = EventSegmentHeader.size
        reserved = position
        nextSequences = header.firstSequences
        lastTime = header.earlierTime
        lastTimes = Array(repeating: 0, count: header.firstSequences.count)
    }

    private init(
        continuing header: EventSegmentHeader, folder: String, options: EventLogOptions
    ) throws(EventLogError) {
        self.folder = folder
        self.options = options
        self.header = header
        file = try EventFile(EventSegmentHeader.path(header.id, in: folder), writable: true)
        nextSequences = header.firstSequences
        lastTime = header.earlierTime
        lastTimes = Array(repeating: 0, count: header.firstSequences.count)
        var place = EventSegmentHeader.size
        let end = file.size
        var scan = EventScan(file: file, seed: header.seed)
        while let (block, next) = try scan.block(at: place, end: end, verifying: true) {
            let partition = Int(block.header.partition)
            guard partition < nextSequences.count, block.header.firstSequence == nextSequences[partition] else { break }
            nextSequences[partition] += Int64(block.header.count)
            lastTime = max(lastTime, block.header.time)
            lastTimes[partition] = block.header.time
            place = next
        }
        position = place
        reserved = place
        if end > place {
            try file.truncate(to: place)
            try file.flushAll()
        }
    }

    /// Writes blocks and returns when they are on the disk.
    ///
    /// - Throws: nothing of the blocks is then in the log.
    mutating func write(_ blocks: inout [PendingEventBlock], now: Int64) throws(EventLogError) {
        if isSuspect || position >= options.segmentBytes { try roll() }
        // A clock that was set back does not make younger messages older.
        let time = max(now, lastTime)
        var sequences = nextSequences
        var times = lastTimes
        var end = position
        do throws(EventLogError) {
            for place in blocks.indices {
                let partition = blocks[place].partition
                let count = blocks[place].count
                let size = blocks[place].buffer.readableBytes
                EventBlockHeader(
                    length: size - EventBlockHeader.size, position: end, firstSequence: sequences[partition],
                    time: time, count: count, partition: partition
                ).write(to: &blocks[place].buffer, seed: header.seed)
                reserve(upTo: end + size)
                try blocks[place].buffer.withUnsafeReadableBytes { (bytes) throws(EventLogError) in
                    try file.write(bytes, at: end)
                }
                sequences[partition] += Int64(count)
                times[partition] = time
                end += size
            }
        } catch {
            // What was written of the blocks must not come back with the next start.
            reserved = position
            do { try file.truncate(to: position) } catch { isSuspect = true }
            throw error
        }
        do throws(EventLogError) {
            try file.flush()
        } catch {
            // After a failed flush nobody knows what the disk holds: this file gets no more blocks.
            isSuspect = true
            try? file.truncate(to: position)
            throw error
        }
        nextSequences = sequences
        lastTimes = times
        lastTime = time
        position = end
    }

    private mutating func reserve(upTo end: Int) {
        guard mayReserve, end > reserved else { return }
        let length = max(Self.reservation, end - reserved)
        if file.reserve(length, at: reserved) {
            reserved += length
        } else {
            mayReserve = false
        }
    }

    /// Ends the file and begins the next.
    mutating func roll() throws(EventLogError) {
        try? file.truncate(to: position)
        try? file.flushAll()
        let next = EventSegmentHeader(id: header.id + 1, firstSequences: nextSequences, earlierTime: lastTime)
        let times = lastTimes
        self = try EventLogWriter(beginning: next, folder: folder, options: options)
        lastTimes = times
    }

    /// Leaves out numbers, and begins a new file that says so.
    mutating func skip(_ count: Int64) throws(EventLogError) {
        for partition in nextSequences.indices { nextSequences[partition] += count }
        try roll()
    }

    var currentHeader: EventSegmentHeader { header }
}

/// Reads the blocks of one file in their order, in large pieces.
struct EventScan {
    struct Block {
        var header: EventBlockHeader
        /// Without the header.
        var entries: ByteBuffer
    }

    let file: EventFile
    let seed: UInt64
    private var piece = ByteBuffer()
    private var pieceStart = 0

    static let pieceSize = 1 << 20

    init(file: EventFile, seed: UInt64) {
        self.file = file
        self.seed = seed
    }

    /// The block at that place, and the place after it; nil when there is none that is whole and, if asked, intact.
    mutating func block(
        at place: Int, end: Int, verifying: Bool, wanted: (EventBlockHeader) -> Bool = { _ in true }
    ) throws(EventLogError) -> (Block, next: Int)? {
        guard let header = try header(at: place, end: end) else { return nil }
        let size = EventBlockHeader.size + Int(header.length)
        guard header.position == UInt64(place), place + size <= end else { return nil }
        guard wanted(header) else { return (Block(header: header, entries: ByteBuffer()), place + size) }
        try load(size, at: place, end: end)
        guard let bytes = piece.getSlice(at: piece.readerIndex + place - pieceStart, length: size) else { return nil }
        if verifying {
            guard bytes.withUnsafeReadableBytes({ EventBlockHeader.isIntact($0, seed: seed) }) else { return nil }
        }
        var entries = bytes
        entries.moveReaderIndex(forwardBy: EventBlockHeader.size)
        return (Block(header: header, entries: entries), place + size)
    }

    mutating func header(at place: Int, end: Int) throws(EventLogError) -> EventBlockHeader? {
        guard place + EventBlockHeader.size <= end else { return nil }
        try load(EventBlockHeader.size, at: place, end: end)
        let offset = place - pieceStart
        guard piece.readableBytes >= offset + EventBlockHeader.size else { return nil }
        return piece.withUnsafeReadableBytes { EventBlockHeader(UnsafeRawBufferPointer(rebasing: $0[offset...])) }
    }

    private mutating func load(_ size: Int, at place: Int, end: Int) throws(EventLogError) {
        guard place < pieceStart || place + size > pieceStart + piece.readableBytes else { return }
        piece = try file.read(min(max(size, Self.pieceSize), end - place), at: place)
        pieceStart = place
    }
}
