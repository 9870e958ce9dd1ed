import PKI

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A state folder that this process holds; two runtimes on one folder would undo each other's work.
final class StateLock: Sendable {
    private let descriptor: Int32

    init(_ folder: String) throws {
        let path = "\(folder)/lock"
        let opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard opened >= 0 else { throw FileError("open", path: path, code: errno) }
        guard flock(opened, LOCK_EX | LOCK_NB) == 0 else {
            close(opened)
            throw EdgeFailure("another runtime runs on \(folder); stop it first, or give another [state] dir")
        }
        descriptor = opened
    }

    /// Whether a runtime runs on that folder.
    static func isHeld(_ folder: String) -> Bool {
        let opened = open("\(folder)/lock", O_RDWR | O_CLOEXEC)
        guard opened >= 0 else { return false }
        defer { close(opened) }
        return flock(opened, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK
    }

    deinit { close(descriptor) }
}
