#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Tells systemd that the service is ready, alive or about to end, where systemd asked for it (sd_notify).
struct ServiceNotifier: Sendable {
    /// A path, or an abstract name that begins with `@`.
    private let address: String?
    /// How often systemd wants to hear of it; half of the time after which it takes the service for dead.
    let interval: Duration?

    /// - Parameter environment: that of the process.
    init(environment: [String: String], processID: Int32 = getpid()) {
        address = environment["NOTIFY_SOCKET"].flatMap { $0.isEmpty ? nil : $0 }
        let isMeant = environment["WATCHDOG_PID"].flatMap { Int32($0) }.map { $0 == processID } ?? true
        let microseconds = environment["WATCHDOG_USEC"].flatMap { Int64($0) } ?? 0
        interval = address != nil && isMeant && microseconds > 0 ? .microseconds(microseconds / 2) : nil
    }

    func ready() { send("READY=1\n") }
    func alive() { send("WATCHDOG=1\n") }
    func stopping() { send("STOPPING=1\n") }

    /// Says that the service is alive for as long as it answers, until the task is cancelled.
    ///
    /// - Parameter answers: returns when the service has answered.
    func keepAlive(while answers: () async -> Void) async {
        guard let interval else { return }
        repeat {
            await answers()
            alive()
        } while (try? await Task.sleep(for: interval)) != nil
    }

    private func send(_ text: String) {
        guard let address else { return }
        var place = sockaddr_un()
        place.sun_family = sa_family_t(AF_UNIX)
        var name = Array(address.utf8)
        guard name.count < MemoryLayout.size(ofValue: place.sun_path) else { return }
        let isAbstract = name.first == UInt8(ascii: "@")
        if isAbstract { name[0] = 0 }
        withUnsafeMutableBytes(of: &place.sun_path) { $0.copyBytes(from: name) }
        let size = MemoryLayout<sa_family_t>.size + name.count + (isAbstract ? 0 : 1)
        #if canImport(Glibc)
            let socket = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        #else
            let socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
        #endif
        guard socket >= 0 else { return }
        defer { close(socket) }
        let bytes = Array(text.utf8)
        _ = withUnsafePointer(to: place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { target in
                // A systemd that does not read must not hold up the service.
                sendto(socket, bytes, bytes.count, Int32(MSG_DONTWAIT), target, socklen_t(size))
            }
        }
    }
}
