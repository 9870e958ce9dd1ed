import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One file of the log: a header that says where each partition stands, then blocks.
///
/// The header is on the disk before the first block is written, so that numbers go on where they were even when all
/// earlier files are gone.
struct EventSegmentHeader: Sendable {
    /// Blocks begin here.
    static let size = 512
    static let maximumPartitions = 32
    private static let magic: [UInt8] = Array("HGEVENT1".utf8)

    /// Rises by one from file to file.
    var id: UInt64
    /// The next sequence number of each partition when the file was begun.
    var firstSequences: [Int64]
    /// No earlier message is younger than this; microseconds since 1970.
    var earlierTime: Int64

    func encoded() -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeBytes(Self.magic)
        bytes.writeMultipleIntegers(id, earlierTime, UInt64(firstSequences.count), endianness: .little)
        for sequence in firstSequences { bytes.writeInteger(sequence, endianness: .little) }
        bytes.writeRepeatingByte(0, count: Self.size - 8 - bytes.readableBytes)
        let sum = bytes.withUnsafeReadableBytes { Checksum64.of($0) }
        bytes.writeInteger(sum, endianness: .little)
        return bytes
    }

    init(id: UInt64, firstSequences: [Int64], earlierTime: Int64) {
        self.id = id
        self.firstSequences = firstSequences
        self.earlierTime = earlierTime
    }

    /// Nil when the bytes are no header or a damaged one.
    init?(_ bytes: ByteBuffer) {
        guard bytes.readableBytes == Self.size else { return nil }
        let sum = bytes.withUnsafeReadableBytes { Checksum64.of(UnsafeRawBufferPointer(rebasing: $0.dropLast(8))) }
        guard sum == bytes.getInteger(at: bytes.readerIndex + Self.size - 8, endianness: .little, as: UInt64.self)
        else { return nil }
        var bytes = bytes
        guard bytes.readBytes(length: 8) == Self.magic,
            let numbers = bytes.readMultipleIntegers(endianness: .little, as: (UInt64, Int64, UInt64).self),
            (1...UInt64(Self.maximumPartitions)).contains(numbers.2)
        else { return nil }
        id = numbers.0
        earlierTime = numbers.1
        firstSequences = (0..<numbers.2).compactMap { _ in bytes.readInteger(endianness: .little, as: Int64.self) }
    }

    /// Blocks of other files do not pass for blocks of this one.
    var seed: UInt64 { id }

    static func path(_ id: UInt64, in folder: String) -> String {
        let digits = String(id, radix: 16)
        return "\(folder)/\(String(repeating: "0", count: max(0, 12 - digits.count)))\(digits).events"
    }

    static func id(ofFile name: String) -> UInt64? {
        guard name.hasSuffix(".events") else { return nil }
        return UInt64(name.dropLast(7), radix: 16)
    }
}

/// An open file, closed with the last reference.
final class EventFile: Sendable {
    let path: String
    private let descriptor: Int32

    /// - Parameter creating: makes the file with mode 0600, and replaces what is there.
    init(_ path: String, creating: Bool = false, writable: Bool = false) throws(EventLogError) {
        let flags = creating ? O_RDWR | O_CREAT | O_TRUNC : writable ? O_RDWR : O_RDONLY
        descriptor = openFile(path, flags | O_CLOEXEC, 0o600)
        self.path = path
        guard descriptor >= 0 else { throw EventFile.failure("open", path) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    var size: Int {
        var facts = stat()
        return fstat(descriptor, &facts) == 0 ? Int(facts.st_size) : 0
    }

    /// Reads up to `length` bytes at that place; fewer at the end of the file.
    func read(_ length: Int, at place: Int) throws(EventLogError) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(length)
        while buffer.readableBytes < length {
            let offset = place + buffer.readableBytes
            let wanted = length - buffer.readableBytes
            var count = 0
            var code: Int32 = 0
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted) { room in
                count = pread(descriptor, room.baseAddress, wanted, off_t(offset))
                code = errno
                return max(0, count)
            }
            if count < 0, code == EINTR { continue }
            guard count >= 0 else { throw EventFile.failure("read", path, code) }
            if count == 0 { break }
        }
        return buffer
    }

    func write(_ bytes: UnsafeRawBufferPointer, at place: Int) throws(EventLogError) {
        var written = 0
        while written < bytes.count {
            let count = pwrite(
                descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written, off_t(place + written))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw EventFile.failure("write", path, count == 0 ? ENOSPC : errno) }
            written += count
        }
    }

    /// Returns when the bytes of the file are on the disk.
    func flush() throws(EventLogError) {
        guard fdatasync(descriptor) == 0 else { throw EventFile.failure("flush", path) }
    }

    /// The same for its size and everything else that the file system notes of it.
    func flushAll() throws(EventLogError) {
        guard fsync(descriptor) == 0 else { throw EventFile.failure("flush", path) }
    }

    func truncate(to size: Int) throws(EventLogError) {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw EventFile.failure("cut", path) }
    }

    /// Asks for room, which makes later flushes cheaper; false where there is none or the file system cannot.
    func reserve(_ length: Int, at place: Int) -> Bool {
        posix_fallocate(descriptor, off_t(place), off_t(length)) == 0
    }

    static func failure(_ operation: String, _ path: String, _ code: Int32 = errno) -> EventLogError {
        if code == ENOSPC || code == EDQUOT { return .full }
        return .disk("cannot \(operation) \(path): \(String(cString: strerror(code)))")
    }

    static func makeFolder(_ path: String) throws(EventLogError) {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw failure("make", path) }
    }

    /// Makes the names in a folder durable.
    static func flushFolder(_ path: String) throws(EventLogError) {
        let descriptor = openFile(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("flush", path) }
    }

    static func names(in folder: String) throws(EventLogError) -> [String] {
        guard let listing = opendir(folder) else { throw failure("list", folder) }
        defer { closedir(listing) }
        var names: [String] = []
        while let entry = readdir(listing) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names
    }

    static func remove(_ path: String) { unlink(path) }
}

/// The variadic call under a name of its own.
private func openFile(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 { open(path, flags, mode) }
