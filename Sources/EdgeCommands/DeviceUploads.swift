import AsyncHTTPClient
import EdgeAgent
import NIOCore
import NIOHTTP1
import NIOSSL
import PKI

/// Brings what the agent's methods upload to where their callers want it: a web address, or a folder of this device.
///
/// - `https://store/container?signature`: a `PUT` of one blob below the container, as stores of blobs take it.
/// - `file:FOLDER`: below the folder of uploads in the device's state, and nowhere else on the device.
struct DeviceUploads: AgentUploads {
    /// `STATE/uploads`.
    let folder: String
    /// Roots in PEM that are trusted beside the system's.
    let furtherRootsPEM: String?
    /// Gathers the files of a support bundle.
    let bundle: @Sendable (_ selection: SupportBundle.Selection) async throws -> [UInt8]

    func put(_ bytes: [UInt8], named name: String, contentType: String, to destination: String) async throws {
        if destination.hasPrefix("file:") {
            try keep(bytes, named: name, in: String(destination.dropFirst("file:".count)))
            return
        }
        guard let address = Self.address(of: name, below: destination) else {
            throw EdgeFailure("\"sasUrl\" must be an address of https://, http:// or file:")
        }
        var request = HTTPClientRequest(url: address)
        request.method = .PUT
        request.headers = [
            "x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-08-06", "content-type": contentType,
            "user-agent": "hedgerow",
        ]
        request.body = .bytes(ByteBuffer(bytes: bytes))
        let client = try client()
        let answer: Result<HTTPResponseStatus, any Error>
        do {
            answer = .success(try await client.execute(request, timeout: .minutes(10)).status)
        } catch {
            answer = .failure(error)
        }
        try? await client.shutdown()
        switch answer {
        case .success(let status) where (200..<300).contains(status.code): return
        case .success(let status):
            throw EdgeFailure(
                "\(Self.host(of: destination)) did not take \(name): \(status.code) \(status.reasonPhrase)")
        case .failure(let error):
            // The error may show the address, and with it the signature.
            let reason = "\(error)".contains("://") ? "the connection failed" : "\(error)"
            throw EdgeFailure("\(Self.host(of: destination)) is not reached: \(reason)")
        }
    }

    func supportBundle(since: String?, until: String?, runtimeOnly: Bool) async throws -> [UInt8] {
        try await bundle(SupportBundle.Selection(since: since, until: until, runtimeOnly: runtimeOnly))
    }

    private func client() throws -> HTTPClient {
        var tls = TLSConfiguration.makeClientConfiguration()
        if let furtherRootsPEM {
            tls.additionalTrustRoots = [
                .certificates(try NIOSSLCertificate.fromPEMBytes(Array(furtherRootsPEM.utf8)))
            ]
        }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.timeout.connect = .seconds(10)
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    private func keep(_ bytes: [UInt8], named name: String, in place: String) throws {
        let parts = (place.split(separator: "/") + name.split(separator: "/")).map(String.init)
        guard let file = parts.last, !parts.contains(".."), !parts.contains(".") else {
            throw EdgeFailure("file:\(place) is no folder below \(folder)")
        }
        var path = folder
        try SecretFile.makeFolder(path)
        for part in parts.dropLast() {
            path += "/" + part
            try SecretFile.makeFolder(path)
        }
        try SecretFile.write(bytes, to: "\(path)/\(file)")
    }

    /// The name goes between the path of the container and its signature.
    static func address(of name: String, below destination: String) -> String? {
        let lower = destination.lowercased()
        guard lower.hasPrefix("https://") || lower.hasPrefix("http://"), destination.utf8.count <= 8192 else {
            return nil
        }
        let parts = destination.split(separator: "?", maxSplits: 1)
        guard let place = parts.first, !host(of: destination).isEmpty else { return nil }
        let path = name.split(separator: "/").map { encoded(String($0)) }.joined(separator: "/")
        let base = place.hasSuffix("/") ? String(place.dropLast()) : String(place)
        return "\(base)/\(path)" + (parts.count > 1 ? "?\(parts[1])" : "")
    }

    private static func host(of destination: String) -> String {
        guard let scheme = destination.firstRange(of: "://") else { return "" }
        let rest = destination[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }
        return String(rest.split(separator: "@").last ?? "")
    }

    private static func encoded(_ text: String) -> String {
        text.utf8.map { byte in
            let character = Character(Unicode.Scalar(byte))
            let plain = character.isASCII && (character.isLetter || character.isNumber || "-._~".contains(character))
            let hexadecimal = String(byte, radix: 16, uppercase: true)
            return plain ? String(character) : "%" + (byte < 16 ? "0" : "") + hexadecimal
        }.joined()
    }
}
