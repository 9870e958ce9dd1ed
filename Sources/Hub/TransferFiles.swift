import Model
import PKI

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The folder of the files that transfers read and write, with one folder in it for each container.
struct TransferFolder: Sendable {
    let path: String

    /// The folder of a container, made if it is not there.
    ///
    /// - Parameter uri: `file:///NAME`, `file:NAME` or the bare name.
    /// - Throws: `HubError`: `blobContainerValidationError` for any other place.
    func container(_ uri: String) throws(HubError) -> String {
        var name = Substring(uri)
        if name.lowercased().hasPrefix("file:") { name = name.dropFirst(5).drop { $0 == "/" } }
        while name.last == "/" { name.removeLast() }
        guard Self.isName(name) else {
            throw HubError(
                .blobContainerValidationError,
                "'\(uri)' is no container of this hub. It keeps files in folders of its own: write file:///NAME.")
        }
        for folder in [path, "\(path)/\(name)"] {
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
                throw HubError(
                    .serverError, "The folder of '\(uri)' cannot be made: \(String(cString: strerror(errno)))")
            }
        }
        return "\(path)/\(name)"
    }

    static func isName(_ name: some StringProtocol) -> Bool {
        (1...128).contains(name.utf8.count) && name.first != "."
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    }
}

/// A line of an import is longer than any that an export writes.
struct LineTooLong: Error, CustomStringConvertible {
    let path: String
    let limit: Int
    var description: String { "\(path) has a line of more than \(limit) bytes" }
}

/// Writes lines to a file beside its place and puts it there when it is whole. For one thread at a time.
final class LineWriter {
    private let path: String
    private let descriptor: Int32
    private var buffer: [UInt8] = []

    /// - Parameter appends: writes to the file itself, behind what is there.
    init(_ path: String, appends: Bool = false) throws {
        self.path = path
        temporary = appends ? nil : path + ".part"
        let flags = appends ? O_APPEND : O_TRUNC
        descriptor = openFile(temporary ?? path, O_CREAT | O_WRONLY | O_CLOEXEC | flags, 0o600)
        guard descriptor >= 0 else { throw FileError("write", path: temporary ?? path, code: errno) }
    }

    private let temporary: String?

    deinit { if descriptor >= 0 { close(descriptor) } }

    func write(_ line: [UInt8]) throws {
        buffer += line
        buffer.append(UInt8(ascii: "\n"))
        if buffer.count > 1 << 20 { try flush() }
    }

    private func flush() throws {
        var rest = buffer[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(descriptor, $0) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw FileError("write", path: path, code: errno) }
            rest = rest.dropFirst(count)
        }
        buffer.removeAll(keepingCapacity: true)
    }

    /// Everything is on the disk when this returns.
    func finish() throws {
        try flush()
        guard fsync(descriptor) == 0 else { throw FileError("write", path: path, code: errno) }
        guard let temporary else { return }
        guard rename(temporary, path) == 0 else { throw FileError("write", path: path, code: errno) }
    }
}

/// Reads a file line by line. For one thread at a time.
final class LineReader {
    /// The longest line: far more than an identity with the largest twin.
    private static let longestLine = 1 << 20

    private let path: String
    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private var place = 0
    private var hasEnded = false

    init(_ path: String) throws {
        self.path = path
        descriptor = openFile(path, O_RDONLY | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw FileError("read", path: path, code: errno) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Bytes of the file.
    var size: Int {
        var facts = stat()
        return fstat(descriptor, &facts) == 0 ? Int(facts.st_size) : 0
    }

    /// Up to so many lines without their ends; none at the end of the file.
    func lines(_ limit: Int) throws -> [[UInt8]] {
        var lines: [[UInt8]] = []
        while lines.count < limit, let line = try next() { lines.append(line) }
        return lines
    }

    private func next() throws -> [UInt8]? {
        var searched = place
        while true {
            if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { place = end + 1 }
                return Array(
                    buffer[place..<end].last == UInt8(ascii: "\r")
                        ? buffer[place..<end].dropLast() : buffer[place..<end])
            }
            searched = buffer.count
            guard !hasEnded else {
                defer { place = buffer.count }
                return place < buffer.count ? Array(buffer[place...]) : nil
            }
            guard buffer.count - place <= Self.longestLine else {
                throw LineTooLong(path: path, limit: Self.longestLine)
            }
            searched -= place
            buffer.removeFirst(place)
            place = 0
            try fill()
        }
    }

    private func fill() throws {
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        let count = chunk.withUnsafeMutableBytes { systemRead(descriptor, $0) }
        guard count >= 0 else { throw FileError("read", path: path, code: errno) }
        if count == 0 { hasEnded = true } else { buffer += chunk[..<count] }
    }
}

// Outside of the types, where the bare names mean the system's calls.
private func openFile(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 { open(path, flags, mode) }
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    write(descriptor, bytes.baseAddress, bytes.count)
}
private func systemRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
    read(descriptor, bytes.baseAddress, bytes.count)
}
