import Dispatch
import NIOCore
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Appends messages to a file, one JSON object a line, and begins a new file when it is full.
///
/// A batch is on the disk when it counts as delivered. `x.jsonl` is the newest file, `x.1.jsonl` the one before it, and so
/// on; the oldest goes when there are too many.
package final class FileSink: EventSink {
    package struct Options: Sendable, Hashable {
        package var path: String
        /// Bytes beyond which a new file is begun.
        package var maximumBytes: Int
        /// Files that are kept, the one that is written included.
        package var maximumFiles: Int

        package init(path: String, maximumBytes: Int = 64 << 20, maximumFiles: Int = 8) {
            self.path = path
            self.maximumBytes = maximumBytes
            self.maximumFiles = maximumFiles
        }
    }

    package let batchLimits = SinkBatchLimits(messages: 4096, bytes: 1 << 20)
    private let options: Options
    private let queue = DispatchQueue(label: "file endpoint")
    /// Used on `queue` only, so never contended.
    private let file = Mutex<OpenFile?>(nil)

    package init(_ options: Options) { self.options = options }

    package func deliver(_ batch: [SinkMessage]) async throws(SinkError) {
        let result: Result<Void, SinkError> = await withCheckedContinuation { continuation in
            queue.async {
                continuation.resume(returning: Result { () throws(SinkError) in try self.write(batch) })
            }
        }
        try result.get()
    }

    package func close() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            queue.async {
                self.file.withLock { $0 = nil }
                continuation.resume()
            }
        }
    }

    private func write(_ batch: [SinkMessage]) throws(SinkError) {
        var bytes = ByteBuffer()
        bytes.reserveCapacity(batch.reduce(0) { $0 + $1.line.readableBytes + 1 })
        for message in batch {
            bytes.writeImmutableBuffer(message.line)
            bytes.writeInteger(UInt8(ascii: "\n"))
        }
        try file.withLock { (file) throws(SinkError) in
            if let size = file?.size, size > 0, size + bytes.readableBytes > options.maximumBytes {
                file = nil
                rotate()
            }
            let open: OpenFile
            if let present = file { open = present } else { open = try OpenFile(options.path) }
            file = open
            do throws(SinkError) {
                try bytes.withUnsafeReadableBytes { (bytes) throws(SinkError) in try open.append(bytes) }
            } catch {
                // The next attempt opens it anew, which cuts off what was written of this batch.
                file = nil
                throw error
            }
        }
    }

    private func rotate() {
        let count = max(1, options.maximumFiles)
        unlink(name(count - 1))
        for number in stride(from: count - 2, through: 0, by: -1) { rename(name(number), name(number + 1)) }
        if count == 1 { unlink(name(0)) }
    }

    /// `x.jsonl` for 0, `x.3.jsonl` for 3.
    private func name(_ number: Int) -> String {
        guard number > 0 else { return options.path }
        let path = options.path
        let start = path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex
        guard let dot = path[start...].lastIndex(of: "."), dot > start else { return "\(path).\(number)" }
        return "\(path[..<dot]).\(number)\(path[dot...])"
    }
}

/// The file that is being written, closed with the last reference.
private final class OpenFile {
    private let path: String
    private let descriptor: Int32
    private(set) var size: Int

    init(_ path: String) throws(SinkError) {
        self.path = path
        descriptor = openFile(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        size = 0
        guard descriptor >= 0 else { throw Self.failure("open", path) }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0 else { throw Self.failure("look at", path) }
        guard facts.st_mode & S_IFMT == S_IFREG else {
            // Pipes and terminals take what they are given; nothing of theirs can be cut.
            return
        }
        size = lastLineEnd(Int(facts.st_size))
        if size < Int(facts.st_size), ftruncate(descriptor, off_t(size)) != 0 { throw Self.failure("cut", path) }
        guard lseek(descriptor, off_t(size), SEEK_SET) >= 0 else { throw Self.failure("seek in", path) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// A line that a crash left unfinished was not delivered and comes again whole.
    private func lastLineEnd(_ end: Int) -> Int {
        var end = end
        var piece = [UInt8](repeating: 0, count: 4096)
        while end > 0 {
            let start = max(0, end - piece.count)
            let count = piece.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, end - start, off_t(start)) }
            guard count > 0 else { return end }
            if let place = piece[..<count].lastIndex(of: UInt8(ascii: "\n")) { return start + place + 1 }
            end = start
        }
        return 0
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws(SinkError) {
        var written = 0
        while written < bytes.count {
            let count = systemWrite(descriptor, UnsafeRawBufferPointer(rebasing: bytes[written...]))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failure("write", path) }
            written += count
        }
        size += written
        guard fdatasync(descriptor) == 0 || errno == EINVAL || errno == EROFS else {
            throw Self.failure("flush", path)
        }
    }

    private static func failure(_ operation: String, _ path: String) -> SinkError {
        .unreachable("cannot \(operation) \(path): \(String(cString: strerror(errno)))")
    }
}

/// The variadic call under a name of its own.
private func openFile(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 { open(path, flags, mode) }

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    write(descriptor, bytes.baseAddress, bytes.count)
}
