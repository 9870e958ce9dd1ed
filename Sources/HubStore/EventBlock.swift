package import NIOCore

/// A message as the log gives it back.
package struct StoredEvent: Sendable {
    package let partition: Int
    /// Rises by one within a partition and never repeats; the offset is the same number.
    package let sequenceNumber: Int64
    /// Microseconds since 1970; never falls from one message of the log to the next.
    package let enqueuedTime: Int64
    package let sender: EventSender
    package let source: EventSource
    /// As in `DeviceEvent`.
    package var propertyBag: ByteBuffer
    package let body: ByteBuffer
}

/// Messages of one partition that were written together.
package struct EventBlock: Sendable {
    package let partition: Int
    package let enqueuedTime: Int64
    /// Of the first message that this block gives.
    package private(set) var firstSequenceNumber: Int64
    /// How many sequence numbers this block covers; hidden messages among them are not given.
    package private(set) var count: Int
    /// How many at the start of `entries` are passed over.
    private var skipped = 0
    private let entries: ByteBuffer
    private let showsHidden: Bool

    init(_ header: EventBlockHeader, entries: ByteBuffer, showsHidden: Bool) {
        partition = Int(header.partition)
        enqueuedTime = header.time
        firstSequenceNumber = header.firstSequence
        count = Int(header.count)
        self.entries = entries
        self.showsHidden = showsHidden
    }

    /// Bytes that this block holds in memory.
    package var size: Int { entries.readableBytes }

    /// Leaves out the messages before that sequence number.
    package mutating func drop(before sequence: Int64) {
        let dropped = Int(min(max(0, sequence - firstSequenceNumber), Int64(count)))
        firstSequenceNumber += Int64(dropped)
        count -= dropped
        skipped += dropped
    }

    /// The messages of this block.
    ///
    /// - Throws: `EventLogError.damaged` when the entries are not what a writer wrote.
    package func events() throws -> [StoredEvent] {
        var events: [StoredEvent] = []
        events.reserveCapacity(count)
        try forEach {
            events.append($0)
            return true
        }
        return events
    }

    /// Gives each message in turn, until the body says false.
    ///
    /// - Throws: what the body throws; `EventLogError.damaged` when the entries are not what a writer wrote.
    package func forEach(_ body: (StoredEvent) throws -> Bool) throws {
        var entries = entries
        var sender: EventSender?
        var toSkip = skipped
        var sequence = firstSequenceNumber
        let end = firstSequenceNumber + Int64(count)
        while sequence < end {
            switch entries.readInteger(as: UInt8.self) {
            case EventEntry.sender?:
                guard let read = EventSender(reading: &entries) else { throw Self.malformed }
                sender = read
            case EventEntry.message?:
                guard let source = entries.readInteger(as: UInt8.self),
                    let lengths = entries.readMultipleIntegers(endianness: .little, as: (UInt32, UInt32).self),
                    let bag = entries.readSlice(length: Int(lengths.0)),
                    let content = entries.readSlice(length: Int(lengths.1)), let sender
                else { throw Self.malformed }
                if toSkip > 0 {
                    toSkip -= 1
                    continue
                }
                if source & EventEntry.hidden != 0, !showsHidden {
                    sequence += 1
                    continue
                }
                let event = StoredEvent(
                    partition: partition, sequenceNumber: sequence, enqueuedTime: enqueuedTime, sender: sender,
                    source: EventSource(rawValue: source & ~EventEntry.hidden) ?? .telemetry, propertyBag: bag,
                    body: content)
                guard try body(event) else { return }
                sequence += 1
            default: throw Self.malformed
            }
        }
    }

    private static let malformed = EventLogError.damaged(path: "a block", reason: "its entries are malformed")
}

/// What stands before the entries of a block in the file; all numbers are little-endian.
struct EventBlockHeader {
    static let size = 48
    /// "HGB1"
    private static let magic: UInt32 = 0x3142_4748
    /// More than any batch makes of one block.
    static let maximumLength = 16 << 20

    var length: UInt32
    /// Where in its file the block begins, so that bytes that ended up elsewhere are no block.
    var position: UInt64
    var firstSequence: Int64
    /// Microseconds since 1970.
    var time: Int64
    var count: UInt32
    var partition: UInt16

    /// Fills the room that was left for it at the start of the buffer.
    func write(to buffer: inout ByteBuffer, seed: UInt64) {
        var header = ByteBuffer()
        header.reserveCapacity(Self.size)
        header.writeMultipleIntegers(
            Self.magic, length, position, firstSequence, time, count, partition, UInt16(0), endianness: .little)
        header.withUnsafeReadableBytes { _ = buffer.setBytes($0, at: 0) }
        let sum = buffer.withUnsafeReadableBytes { Self.checksum($0, seed: seed) }
        buffer.setInteger(sum, at: 40, endianness: .little)
    }

    /// Reads a header; nil when the bytes are none.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.size else { return nil }
        func read<Number: FixedWidthInteger>(_ place: Int, _: Number.Type) -> Number {
            Number(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: Number.self))
        }
        guard read(0, UInt32.self) == Self.magic else { return nil }
        length = read(4, UInt32.self)
        position = read(8, UInt64.self)
        firstSequence = read(16, Int64.self)
        time = read(24, Int64.self)
        count = read(32, UInt32.self)
        partition = read(36, UInt16.self)
        guard length <= Self.maximumLength, count > 0, firstSequence >= 0 else { return nil }
    }

    init(length: Int, position: Int, firstSequence: Int64, time: Int64, count: Int, partition: Int) {
        self.length = UInt32(length)
        self.position = UInt64(position)
        self.firstSequence = firstSequence
        self.time = time
        self.count = UInt32(count)
        self.partition = UInt16(partition)
    }

    /// Whether the block, header included, is as it was written.
    static func isIntact(_ block: UnsafeRawBufferPointer, seed: UInt64) -> Bool {
        block.count >= size
            && UInt64(littleEndian: block.loadUnaligned(fromByteOffset: 40, as: UInt64.self))
                == checksum(block, seed: seed)
    }

    /// Of the header before the checksum, and of all that follows it.
    private static func checksum(_ block: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        let head = Checksum64.of(UnsafeRawBufferPointer(rebasing: block[..<40]), seed: seed)
        return Checksum64.of(UnsafeRawBufferPointer(rebasing: block[size...]), seed: head)
    }
}

/// A block that is being filled; its buffer begins with the room for the header.
struct PendingEventBlock {
    let partition: Int
    var buffer: ByteBuffer
    private(set) var count = 0
    private var sender: EventSender?

    /// A block takes no more messages once it holds this much, so that readers need little memory.
    static let fullSize = 512 << 10

    init(partition: Int, buffer: ByteBuffer) {
        self.partition = partition
        self.buffer = buffer
        self.buffer.clear()
        self.buffer.writeRepeatingByte(0, count: EventBlockHeader.size)
    }

    var isFull: Bool { buffer.readableBytes >= Self.fullSize }

    mutating func append(
        bag: ByteBuffer, body: ByteBuffer, source: EventSource, isHidden: Bool, sender: EventSender
    ) {
        if self.sender !== sender {
            buffer.writeImmutableBuffer(sender.encoded)
            self.sender = sender
        }
        buffer.writeMultipleIntegers(
            EventEntry.message, source.rawValue | (isHidden ? EventEntry.hidden : 0), UInt32(bag.readableBytes),
            UInt32(body.readableBytes),
            endianness: .little)
        buffer.writeImmutableBuffer(bag)
        buffer.writeImmutableBuffer(body)
        count += 1
    }
}
