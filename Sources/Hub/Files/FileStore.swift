import Crypto
import FoundationEssentials
import HubProtocol
import Model
import NIOPosix
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The files of devices, in a folder with one folder for each device. What blocks the calling thread runs on NIO's pool.
///
/// Names are encoded so that none leaves its folder: everything but letters, digits and `-_.~` is written as percent and
/// digits, and what is too long, or dots alone, by its SHA-256.
final class FileStore: Sendable {
    struct Limits: Sendable {
        /// Bytes of one file.
        var file: Int64 = 1 << 30
        /// Bytes of all of them, blocks of unfinished ones included.
        var total: Int64 = 10 << 30
        var blocks = 50_000
    }

    struct Facts: Sendable, Hashable {
        let size: Int64
        let modified: Timestamp
        /// Changes with the content.
        var etag: String { "\"0x\(String(modified.ticks, radix: 16, uppercase: true))\"" }
    }

    private let folder: String
    private let limits: Limits
    /// Bytes on the disk; nil until counted.
    private let used = Mutex<Int64?>(nil)

    init(folder: String, limits: Limits = Limits()) {
        self.folder = folder
        self.limits = limits
    }

    // MARK: Writing

    /// Puts a whole file in place of one of the same name.
    func put(_ blob: String, of device: String, _ bytes: [UInt8]) async throws(HubError) -> Facts {
        try await run { [self] in
            try reserve(Int64(bytes.count), isFile: true)
            let path = try path(of: blob, device)
            do {
                try finish(path) { try $0.write(bytes) }
            } catch {
                release(Int64(bytes.count))
                throw error
            }
            return try facts(at: path)
        }
    }

    /// Keeps a block of a file until its list comes.
    func putBlock(_ id: String, of blob: String, _ device: String, _ bytes: [UInt8]) async throws(HubError) {
        try await run { [self] in
            try reserve(Int64(bytes.count), isFile: true)
            do {
                let place = try blockFolder(of: blob, device)
                let count = (try? FileManager.default.contentsOfDirectory(atPath: place).count) ?? 0
                guard count < limits.blocks else { throw HubError(.argumentInvalid, "The file has too many blocks.") }
                let path = "\(place)/\(Self.digest(id))"
                release(Self.size(path))
                let file = try OwnFile(path)
                try file.write(bytes)
            } catch {
                release(Int64(bytes.count))
                throw error
            }
        }
    }

    /// Makes the file out of blocks, in that order, and drops all its blocks.
    func commit(_ blocks: [String], of blob: String, _ device: String) async throws(HubError) -> Facts {
        try await run { [self] in
            guard blocks.count <= limits.blocks else {
                throw HubError(.argumentInvalid, "The file has too many blocks.")
            }
            let place = try blockFolder(of: blob, device)
            var total: Int64 = 0
            for id in blocks {
                let block = "\(place)/\(Self.digest(id))"
                guard FileManager.default.fileExists(atPath: block) else {
                    throw HubError(.argumentInvalid, "The list names a block that was not put.")
                }
                total += Self.size(block)
            }
            try reserve(total, isFile: true)
            let path = try path(of: blob, device)
            do {
                try finish(path) { file in
                    for id in blocks { try file.append("\(place)/\(Self.digest(id))") }
                }
            } catch {
                release(total)
                throw error
            }
            dropBlocks(at: place)
            return try facts(at: path)
        }
    }

    /// Forgets the blocks of a file that was never finished.
    func abandon(_ blob: String, of device: String) async {
        try? await run { [self] in dropBlocks(at: blockPath(of: blob, device)) }
    }

    func remove(_ blob: String, of device: String) async throws(HubError) -> Bool {
        try await run { [self] in
            let path = filePath(of: blob, device)
            let size = Self.size(path)
            guard unlink(path) == 0 else { return false }
            release(size)
            return true
        }
    }

    // MARK: Reading

    /// Nil when there is no such file.
    func facts(of blob: String, _ device: String) async throws(HubError) -> Facts? {
        try await run { [self] in try? facts(at: filePath(of: blob, device)) }
    }

    /// A part of a file; less at its end.
    func read(_ blob: String, of device: String, from offset: Int64, count: Int) async throws(HubError) -> [UInt8] {
        try await run { [self] in
            try OwnFile.read(filePath(of: blob, device), from: offset, count: count)
        }
    }

    // MARK: Places

    private func filePath(of blob: String, _ device: String) -> String {
        "\(folder)/\(Self.name(device))/\(Self.name(blob))"
    }

    private func path(of blob: String, _ device: String) throws -> String {
        try Self.makeFolder(folder)
        try Self.makeFolder("\(folder)/\(Self.name(device))")
        return filePath(of: blob, device)
    }

    private func blockPath(of blob: String, _ device: String) -> String {
        "\(folder)/.blocks/\(Self.digest("\(device)\n\(blob)"))"
    }

    private func blockFolder(of blob: String, _ device: String) throws -> String {
        let path = blockPath(of: blob, device)
        for part in [folder, "\(folder)/.blocks", path] { try Self.makeFolder(part) }
        return path
    }

    private static func makeFolder(_ path: String) throws {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw OwnFile.Failure("make", path) }
    }

    static func name(_ text: String) -> String {
        let encoded = PercentCoding.encoded(text)
        let isPlain = encoded.utf8.count <= 200 && encoded.utf8.first != UInt8(ascii: ".")
        return isPlain ? encoded : "sha256-\(digest(text))"
    }

    private static func digest(_ text: String) -> String {
        SHA256.hash(data: Array(text.utf8)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    // MARK: Room

    private func reserve(_ bytes: Int64, isFile: Bool) throws {
        guard bytes <= limits.file else {
            throw HubError(.messageTooLarge, "A file has at most \(limits.file) bytes.")
        }
        try used.withLock { used in
            let now = used ?? Self.size(ofAllIn: folder)
            guard now + bytes <= limits.total else {
                used = now
                throw HubError(.serviceUnavailable, "The hub's room for files is full: remove some.")
            }
            used = now + bytes
        }
    }

    private func release(_ bytes: Int64) {
        used.withLock { used in used = used.map { max(0, $0 - bytes) } }
    }

    private func dropBlocks(at place: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: place)) ?? [] {
            let path = "\(place)/\(name)"
            let size = Self.size(path)
            if unlink(path) == 0 { release(size) }
        }
        rmdir(place)
    }

    /// Writes beside the place and puts the file there when it is whole and on the disk.
    private func finish(_ path: String, _ body: (OwnFile) throws -> Void) throws {
        let temporary = "\(folder)/.part-\(UUID().uuidString)"
        do {
            let file = try OwnFile(temporary)
            try body(file)
            try file.flush()
            let old = Self.size(path)
            guard rename(temporary, path) == 0 else { throw OwnFile.Failure("rename", path) }
            release(old)
        } catch {
            unlink(temporary)
            throw error
        }
    }

    private func facts(at path: String) throws -> Facts {
        var status = stat()
        guard stat(path, &status) == 0 else { throw OwnFile.Failure("find", path) }
        let time = Timestamp(
            seconds: Int64(status.st_mtim.tv_sec), nanosecond: Int64(status.st_mtim.tv_nsec))
        return Facts(size: Int64(status.st_size), modified: time)
    }

    /// 0 for what is not there.
    private static func size(_ path: String) -> Int64 {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(status.st_size) : 0
    }

    private static func size(ofAllIn folder: String) -> Int64 {
        let paths = (try? FileManager.default.subpathsOfDirectory(atPath: folder)) ?? []
        return paths.reduce(0) { sum, path in
            var status = stat()
            guard stat("\(folder)/\(path)", &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return sum }
            return sum + Int64(status.st_size)
        }
    }

    private func run<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) async throws(HubError) -> Result {
        do {
            return try await NIOThreadPool.singleton.runIfActive(body)
        } catch let error as HubError {
            throw error
        } catch {
            throw HubError(.serviceUnavailable, "The hub cannot keep or read the file: \(error)")
        }
    }
}

/// A file that is written once. For one thread at a time.
private final class OwnFile {
    struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ verb: String, _ path: String) {
            let name = path.split(separator: "/").last ?? ""
            description = "cannot \(verb) \(name): \(String(cString: strerror(errno)))"
        }
    }

    private let path: String
    private let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        descriptor = openFile(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Failure("write", path) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func write(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(descriptor, $0) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure("write", path) }
            rest = rest.dropFirst(count)
        }
    }

    func append(_ other: String) throws {
        var offset: Int64 = 0
        while case let bytes = try Self.read(other, from: offset, count: 1 << 20), !bytes.isEmpty {
            try write(bytes)
            offset += Int64(bytes.count)
        }
    }

    func flush() throws {
        guard fsync(descriptor) == 0 else { throw Failure("flush", path) }
    }

    static func read(_ path: String, from offset: Int64, count: Int) throws -> [UInt8] {
        let descriptor = openFile(path, O_RDONLY | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw Failure("read", path) }
        defer { close(descriptor) }
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let read = pread(
                    descriptor, buffer.baseAddress?.advanced(by: filled), count - filled, off_t(offset) + off_t(filled))
                if read < 0, errno == EINTR { continue }
                failed = read < 0
                guard read > 0 else { return }
                filled += read
            }
        }
        guard !failed else { throw Failure("read", path) }
        return bytes
    }
}

/// The calls of the system under names of their own.
private func openFile(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 { open(path, flags, mode) }
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    write(descriptor, bytes.baseAddress, bytes.count)
}
