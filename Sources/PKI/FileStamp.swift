#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Tells whether a file is the one that was read before: files that are written by rename get another stamp each time.
package struct FileStamp: Sendable, Hashable {
    private let inode: UInt64
    private let seconds: Int
    private let nanoseconds: Int

    /// Nil when there is no file.
    package init?(of path: String) throws(FileError) {
        var facts = stat()
        guard stat(path, &facts) == 0 else {
            if errno == ENOENT { return nil }
            throw FileError("read", path: path, code: errno)
        }
        inode = UInt64(facts.st_ino)
        seconds = Int(facts.st_mtim.tv_sec)
        nanoseconds = Int(facts.st_mtim.tv_nsec)
    }
}
