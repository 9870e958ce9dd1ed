#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A file operation that the system refused, with the path and the system's reason.
package struct FileError: Error, Sendable, CustomStringConvertible {
    package let operation: String
    package let path: String
    /// `errno` of the call.
    package let code: Int32

    package init(_ operation: String, path: String, code: Int32) {
        self.operation = operation
        self.path = path
        self.code = code
    }

    /// The disk or its quota is full.
    package var isFull: Bool { code == ENOSPC || code == EDQUOT }

    package var description: String { "cannot \(operation) \(path): \(String(cString: strerror(code)))" }
}

/// Files that only their owner may read, and that are there whole or not at all.
package enum SecretFile {
    /// Writes the file with mode 0600 under a temporary name, flushes it to the disk and renames it into place.
    ///
    /// - Throws: `FileError`; an earlier file of that name is then untouched.
    package static func write(_ bytes: some Sequence<UInt8>, to path: String) throws(FileError) {
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: .min ... .max)).new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileError("create", path: temporary, code: errno) }
        let bytes = Array(bytes)
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                systemWrite(descriptor, UnsafeRawBufferPointer(rebasing: $0[written...]))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw abandon(descriptor, temporary, "write", errno) }
            written += count
        }
        guard fsync(descriptor) == 0 else { throw abandon(descriptor, temporary, "flush", errno) }
        close(descriptor)
        guard rename(temporary, path) == 0 else {
            let code = errno
            unlink(temporary)
            throw FileError("rename into place", path: path, code: code)
        }
        flushFolder(of: path)
    }

    private static func abandon(
        _ descriptor: Int32, _ path: String, _ operation: String, _ code: Int32
    ) -> FileError {
        close(descriptor)
        unlink(path)
        return FileError(operation, path: path, code: code)
    }

    /// The name is durable only when its folder is; a file system that cannot do that loses nothing by the attempt.
    private static func flushFolder(of path: String) {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let descriptor = open(folder.isEmpty ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    /// Reads a file of at most `limit` bytes; nil when there is none.
    package static func read(_ path: String, limit: Int = 16 * 1024 * 1024) throws(FileError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw FileError("open", path: path, code: errno)
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = chunk.withUnsafeMutableBytes { systemRead(descriptor, $0) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileError("read", path: path, code: errno) }
            if count == 0 { return bytes }
            bytes.append(contentsOf: chunk[..<count])
            guard bytes.count <= limit else { throw FileError("read", path: path, code: EFBIG) }
        }
    }

    /// Makes a folder, and those above it, that only the owner may enter; one that exists is left as it is.
    package static func makeFolder(_ path: String) throws(FileError) {
        var built = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            built += built.isEmpty || built.hasSuffix("/") ? String(part) : "/\(part)"
            guard mkdir(built, 0o700) == 0 || errno == EEXIST else {
                // A folder above may be unwritable and there all the same, as on a read-only mount.
                var facts = stat()
                if stat(built, &facts) == 0 { continue }
                throw FileError("make the folder", path: built, code: errno)
            }
        }
    }
}

// Outside of the type, where the bare names mean the system's calls.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    write(descriptor, bytes.baseAddress, bytes.count)
}

private func systemRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
    read(descriptor, bytes.baseAddress, bytes.count)
}
