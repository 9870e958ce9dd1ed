import SolutionTemplate
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The file system as the solution tool needs it. Paths are texts; what they are relative to is the caller's business.
enum LocalFiles {
    /// What `lstat` or `stat` tells of a file.
    struct Status: Sendable {
        enum Kind: Sendable { case file, folder, link, other }

        let kind: Kind
        /// The permission bits.
        let mode: UInt32
        let size: Int
        let inode: UInt64
        /// Nanoseconds since 1970, as is `changed`, which also moves when content is put back with an old date.
        let modified: Int
        let changed: Int
    }

    /// - Returns: nil when there is nothing at the path.
    static func status(_ path: String, followingLinks: Bool = true) -> Status? {
        var status = stat()
        guard (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else { return nil }
        let kind: Status.Kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .folder
            case S_IFLNK: .link
            default: .other
            }
        return Status(
            kind: kind, mode: UInt32(status.st_mode & 0o7777), size: Int(status.st_size),
            inode: UInt64(status.st_ino),
            modified: Int(status.st_mtim.tv_sec) * 1_000_000_000 + Int(status.st_mtim.tv_nsec),
            changed: Int(status.st_ctim.tv_sec) * 1_000_000_000 + Int(status.st_ctim.tv_nsec))
    }

    static func isFolder(_ path: String) -> Bool { status(path)?.kind == .folder }

    /// The wall clock in nanoseconds since 1970, to be compared with a file's times.
    static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int(time.tv_sec) * 1_000_000_000 + Int(time.tv_nsec)
    }

    /// The names in a folder, sorted by their bytes; nil when it cannot be read.
    static func names(in folder: String) -> [String]? {
        guard let stream = opendir(folder) else { return nil }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    static func linkTarget(_ path: String) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer -> String? in
            guard let start = buffer.baseAddress else { return nil }
            let count = readlink(path, start, buffer.count)
            return count < 0 ? nil : String(decoding: UnsafeRawBufferPointer(buffer).prefix(count), as: UTF8.self)
        }
    }

    /// A whole file of at most `limit` bytes.
    static func read(_ path: String, limit: Int = 64 << 20) throws(Errno) -> [UInt8] {
        do {
            let descriptor = try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
            return try descriptor.closeAfter {
                var content: [UInt8] = []
                // One byte more than the file has by its status, so that one read sees its end.
                var step = min(limit, status(path)?.size ?? 0) + 1
                while true {
                    guard content.count <= limit else { throw Errno.fileTooLarge }
                    let piece = try [UInt8](unsafeUninitializedCapacity: step) { bytes, count in
                        count = try descriptor.read(into: UnsafeMutableRawBufferPointer(bytes))
                    }
                    if piece.isEmpty { return content }
                    if content.isEmpty { content = piece } else { content += piece }
                    step = 64 << 10
                }
            }
        } catch let error as Errno {
            throw error
        } catch {
            throw Errno.ioError
        }
    }

    /// Writes a file whole or not at all, under its name only when it is complete. Where the file system can do it, what
    /// is being written has no name before, so that not even a kill leaves a part of it.
    static func write(
        _ content: [UInt8], to path: String, permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]
    ) throws(SolutionError) {
        let temporary = "\(path).\(getpid()).tmp"
        do {
            if let nameless = nameless(in: Paths.folder(of: path), permissions) {
                let isNamed = try nameless.closeAfter {
                    _ = try nameless.writeAll(content)
                    return try name(nameless, path, by: temporary)
                }
                if isNamed { return }
            }
            let descriptor = try FileDescriptor.open(
                FilePath(temporary), .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: permissions)
            try descriptor.closeAfter { _ = try descriptor.writeAll(content) }
            try move(temporary, to: path)
        } catch {
            unlink(temporary)
            throw SolutionError(.unwritable, "cannot be written: \(error)", file: path)
        }
    }

    /// A file in a folder that has no name yet; nil where the file system has none such.
    private static func nameless(in folder: String, _ permissions: FilePermissions) -> FileDescriptor? {
        // The same on all processors, unlike O_DIRECTORY, without which older kernels would make something else.
        let flag: Int32 = 0o20_000_000 | O_DIRECTORY
        let descriptor = open(folder.isEmpty ? "." : folder, flag | O_WRONLY | O_CLOEXEC, permissions.rawValue)
        return descriptor < 0 ? nil : FileDescriptor(rawValue: descriptor)
    }

    /// - Returns: false where files cannot be named afterwards.
    private static func name(_ file: FileDescriptor, _ path: String, by temporary: String) throws -> Bool {
        let source = "/proc/self/fd/\(file.rawValue)"
        if linkat(AT_FDCWD, source, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 { return true }
        guard errno == EEXIST else { return false }
        // A name that exists can only be taken over by a rename.
        unlink(temporary)
        guard linkat(AT_FDCWD, source, AT_FDCWD, temporary, AT_SYMLINK_FOLLOW) == 0 else { return false }
        try move(temporary, to: path)
        return true
    }

    private static func move(_ temporary: String, to path: String) throws(Errno) {
        guard rename(temporary, path) == 0 else { throw Errno(rawValue: errno) }
    }

    /// Lets nobody but the owner read a file.
    static func hide(_ path: String) { chmod(path, 0o600) }

    /// Makes a folder and those above it.
    static func makeFolder(_ path: String, permissions: mode_t = 0o777) throws(SolutionError) {
        guard !isFolder(path) else { return }
        let parent = Paths.folder(of: path)
        if !parent.isEmpty, parent != path { try makeFolder(parent) }
        guard mkdir(path, permissions) == 0 || errno == EEXIST else {
            throw SolutionError(.unwritable, "the folder cannot be made: \(Errno(rawValue: errno))", file: path)
        }
    }
}

/// Paths as texts.
enum Paths {
    /// `path` as seen from `folder`; an absolute path is itself.
    static func join(_ folder: String, _ path: String) -> String {
        if path.hasPrefix("/") || folder.isEmpty { return path }
        return folder.hasSuffix("/") ? folder + path : "\(folder)/\(path)"
    }

    /// Everything before the last name; empty when there is none.
    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "" }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    static func name(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
    }

    /// Without `.`, `..` and doubled slashes, by the text alone.
    static func normalized(_ path: String) -> String {
        let isAbsolute = path.hasPrefix("/")
        var steps: [Substring] = []
        for step in path.split(separator: "/") where step != "." {
            if step != ".." {
                steps.append(step)
            } else if let last = steps.last, last != ".." {
                steps.removeLast()
            } else if !isAbsolute {
                steps.append(step)
            }
        }
        let text = (isAbsolute ? "/" : "") + steps.joined(separator: "/")
        return text.isEmpty ? "." : text
    }

    /// The path of something inside `folder`, relative to it; nil when it lies outside. Both are absolute.
    static func relative(_ path: String, inside folder: String) -> String? {
        let (path, folder) = (normalized(path), normalized(folder))
        let prefix = folder == "/" ? "/" : folder + "/"
        return path.hasPrefix(prefix) ? String(path.dropFirst(prefix.count)) : nil
    }
}
