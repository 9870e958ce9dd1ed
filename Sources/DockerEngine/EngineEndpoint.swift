/// Where a container engine listens, in the form of `DOCKER_HOST`.
package struct EngineEndpoint: Sendable, Hashable, CustomStringConvertible {
    package enum Address: Sendable, Hashable {
        case socket(path: String)
        case network(host: String, port: Int)
    }

    package let address: Address

    package init(_ address: Address) { self.address = address }

    /// Reads `unix:///path`, `tcp://host:port` or `http://host:port` (the port defaults to 2375).
    ///
    /// - Throws: `EngineError` with code `badAddress`.
    package init(parsing text: String) throws(EngineError) {
        guard let mark = text.range(of: "://") else {
            throw EngineError(
                .badAddress, "'\(text)' is no engine address; expected unix:///path/to/docker.sock or tcp://host:port")
        }
        let rest = String(text[mark.upperBound...])
        switch text[..<mark.lowerBound] {
        case "unix":
            guard rest.hasPrefix("/") else {
                throw EngineError(.badAddress, "'\(text)' needs an absolute path, as in unix:///var/run/docker.sock")
            }
            address = .socket(path: rest)
        case "tcp", "http":
            let authority = rest.prefix { $0 != "/" }
            var host = authority
            var port = 2375
            if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
                guard let number = Int(authority[authority.index(after: colon)...]), (1...65535).contains(number) else {
                    throw EngineError(.badAddress, "'\(text)' has no valid port")
                }
                host = authority[..<colon]
                port = number
            }
            guard !host.isEmpty else { throw EngineError(.badAddress, "'\(text)' names no host") }
            address = .network(host: String(host), port: port)
        default:
            throw EngineError(
                .badAddress, "'\(text)': engines are reached by unix:// or tcp:// only; use a tunnel for others")
        }
    }

    /// The address in `DOCKER_HOST`, or Docker's usual socket.
    package static func standard(environment: [String: String]) throws(EngineError) -> EngineEndpoint {
        if let host = environment["DOCKER_HOST"], !host.isEmpty { return try EngineEndpoint(parsing: host) }
        return EngineEndpoint(.socket(path: "/var/run/docker.sock"))
    }

    package var description: String {
        switch address {
        case .socket(let path): "unix://\(path)"
        case .network(let host, let port): "tcp://\(host):\(port)"
        }
    }

    /// What a path of the API is appended to.
    var base: String {
        switch address {
        case .socket(let path): "http+unix://\(percentEncoded(path))"
        case .network(let host, let port): "http://\(host):\(port)"
        }
    }
}

extension String {
    /// The first place at which `text` occurs.
    fileprivate func range(of text: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}

/// Writes a text so that it can stand in a path segment or a query value.
func percentEncoded(_ text: String, keeping kept: String = "") -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var result: [UInt8] = []
    for byte in text.utf8 {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: result.append(byte)
        case _ where kept.utf8.contains(byte): result.append(byte)
        default: result += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: result, as: UTF8.self)
}
