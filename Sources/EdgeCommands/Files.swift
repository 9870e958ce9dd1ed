import FoundationEssentials
import NIOCore
import PKI

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Facts of the machine that commands ask for.
enum Files {
    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func remove(_ path: String) { unlink(path) }

    static var machineName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "localhost" }
        return name.withUnsafeBufferPointer { buffer in
            buffer.baseAddress.map { String(cString: $0) } ?? "localhost"
        }.lowercased()
    }

    static func isWritable(_ path: String) -> Bool { access(path, W_OK) == 0 }

    /// Bytes of the disk that holds a path, and how many files may still be made; nil when the system does not say.
    static func room(of path: String) -> (free: Int, total: Int, freeNodes: Int)? {
        var facts = statvfs()
        guard statvfs(path, &facts) == 0 else { return nil }
        let block = Int(facts.f_frsize)
        // File systems that make their nodes as they are needed tell of none at all.
        let nodes = facts.f_files == 0 ? Int.max : Int(clamping: facts.f_favail)
        return (Int(clamping: facts.f_bavail) * block, Int(clamping: facts.f_blocks) * block, nodes)
    }

    /// When the certificate in a file ends; nil when it holds none.
    static func certificateEnd(_ path: String) -> Date? {
        guard let bytes = try? SecretFile.read(path),
            let der = CertificateChain.der(String(decoding: bytes, as: UTF8.self))
        else { return nil }
        return CertificateFacts(der: der)?.notValidAfter
    }

    /// Tries to listen for a moment.
    ///
    /// - Returns: why that is not possible; nil when it is.
    static func troubleListening(on address: String, port: Int) -> String? {
        guard let place = try? SocketAddress(ipAddress: address, port: port) else {
            return "\(address) is no address of a network"
        }
        let family = place.protocol == .inet6 ? AF_INET6 : AF_INET
        let socket = streamSocket(family)
        guard socket >= 0 else { return String(cString: strerror(errno)) }
        defer { close(socket) }
        var yes: Int32 = 1
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        let result = place.withSockAddr { pointer, size in bind(socket, pointer, socklen_t(size)) }
        return result == 0 && listen(socket, 1) == 0 ? nil : String(cString: strerror(errno))
    }

    private static func streamSocket(_ family: Int32) -> Int32 {
        #if canImport(Glibc)
            socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        #else
            socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)
        #endif
    }
}
