#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Some bytes of the disk that are held back while there is room, and given up when there is none: with them the store
/// can still record deliveries and tidy up on a full disk, and so make room by itself.
struct DiskReserve {
    private let folder: String
    private let size: Int
    private var path: String { folder + "/reserve" }

    init(folder: String, size: Int = 8 << 20) {
        self.folder = folder
        self.size = size
    }

    /// Takes the bytes if the disk has four times as many to spare.
    ///
    /// - Returns: whether they are held.
    func take() -> Bool {
        var facts = stat()
        if stat(path, &facts) == 0, Int(facts.st_size) >= size { return true }
        guard let disk = Self.disk(of: folder), disk.free > size * 4 else { return false }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        #if canImport(Darwin)
            return ftruncate(descriptor, off_t(size)) == 0
        #else
            guard posix_fallocate(descriptor, 0, off_t(size)) == 0 else {
                unlink(path)
                return false
            }
            return true
        #endif
    }

    func giveUp() { unlink(path) }

    /// Bytes of the disk that a folder lies on, in all and free for us; nil when the system does not tell.
    static func disk(of folder: String) -> (total: Int, free: Int)? {
        var facts = statvfs()
        guard statvfs(folder, &facts) == 0 else { return nil }
        let unit = Int(facts.f_frsize)
        return (Int(facts.f_blocks) * unit, Int(facts.f_bavail) * unit)
    }
}
