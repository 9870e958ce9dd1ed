import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import Testing
import Transport

#if canImport(Glibc)
    import Glibc
#endif

/// Answers with what it saw: method, path, query, body, peer.
private struct Echo: HTTPResponder {
    func respond(to request: HTTPRequest) async -> HTTPResponse {
        switch request.path.first {
        case "stream":
            return HTTPResponse(
                status: .ok,
                body: .stream(
                    AsyncStream { continuation in
                        for word in ["one ", "two ", "three"] { continuation.yield(ByteBuffer(string: word)) }
                        continuation.finish()
                    }))
        case "forever":
            return HTTPResponse(status: .ok, body: .stream(AsyncStream { _ in }))
        case "peer":
            let user = request.peer.userID.map(String.init) ?? "none"
            let process = request.peer.processID.map(String.init) ?? "none"
            return text("uid=\(user) pid=\(process) certificates=\(request.peer.certificates.count)")
        default:
            let query = request.query.map { "\($0.name)=\($0.value)" }.joined(separator: ",")
            return text("\(request.method) \(request.path) [\(query)] \(String(buffer: request.body))")
        }
    }

    private func text(_ text: String) -> HTTPResponse {
        HTTPResponse(status: .ok, body: .bytes(ByteBuffer(string: text)))
    }
}

@Suite struct HTTPServerTests {
    private func withServer(
        certificate: ServerCertificate? = nil, webSockets: [WebSocketEndpoint] = [], limits: HTTPLimits = HTTPLimits(),
        _ body: (Listener) async throws -> Void
    ) async throws {
        let listener = try await HTTPServer.start(
            on: .tcp(host: "127.0.0.1", port: 0), certificate: certificate, responder: Echo(), webSockets: webSockets,
            limits: limits, logger: Logger(label: "test"))
        do { try await body(listener) } catch {
            await listener.shutDown(grace: .zero)
            throw error
        }
        await listener.shutDown(grace: .zero)
        #expect(listener.connectionCount == 0)
    }

    @Test func `Pipelined requests are answered in their order, and the connection stays`() async throws {
        try await withServer { listener in
            let client = try await RawConnection.open(port: listener.port)
            try await client.send(
                "GET /a%2Fb/c+d?x=1&y=%20 HTTP/1.1\r\nhost: h\r\n\r\nPOST /two HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody"
            )
            let answer = await client.read { $0.contains("body") }
            #expect(answer.contains(#"GET ["a/b", "c+d"] [x=1,y= ] "#))
            #expect(answer.contains(#"POST ["two"] [] body"#))
            try await client.send("GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            #expect(await client.read().contains("last"))
        }
    }

    @Test func `A stream is sent chunk by chunk`() async throws {
        try await withServer { listener in
            let client = try await RawConnection.open(port: listener.port)
            try await client.send("GET /stream HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            let answer = await client.read()
            #expect(answer.contains("transfer-encoding: chunked"))
            #expect(answer.contains("4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n"))
        }
    }

    @Test func `A stream that never ends is dropped when the peer leaves`() async throws {
        try await withServer { listener in
            let client = try await RawConnection.open(port: listener.port)
            try await client.send("GET /forever HTTP/1.1\r\nhost: h\r\n\r\n")
            _ = await client.read { $0.contains("\r\n\r\n") }
            await client.close()
        }
    }

    @Test func `A body that is too large is refused, announced or not`() async throws {
        try await withServer(limits: HTTPLimits(body: 10)) { listener in
            for request in [
                "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 11\r\n\r\n",
                "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n6\r\naaaaaa\r\n6\r\naaaaaa\r\n",
            ] {
                let client = try await RawConnection.open(port: listener.port)
                try await client.send(request)
                #expect(await client.read().hasPrefix("HTTP/1.1 413 "))
            }
        }
    }

    @Test func `What is no HTTP, and headers without end, close the connection`() async throws {
        try await withServer(limits: HTTPLimits(headers: 2000)) { listener in
            for request in [
                "\u{16}\u{3}\u{1} nonsense\r\n\r\n",
                "GET / HTTP/1.1\r\nx: \(String(repeating: "a", count: 5000))\r\n\r\n",
            ] {
                let client = try await RawConnection.open(port: listener.port)
                try await client.send(request)
                #expect(await client.read().hasPrefix("HTTP/1.1 4"))
            }
        }
    }

    @Test func `A connection that says nothing is closed`() async throws {
        try await withServer(limits: HTTPLimits(idle: .milliseconds(20))) { listener in
            let client = try await RawConnection.open(port: listener.port)
            // On a busy machine the server may be done with the connection before this is written.
            try? await client.send("GET / HT")
            #expect(await client.read() == "")
        }
    }

    @Test func `A sender that is too slow is cut off`() async throws {
        try await withServer(limits: HTTPLimits(bodyTime: .milliseconds(20))) { listener in
            let client = try await RawConnection.open(port: listener.port)
            try await client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nabc")
            #expect(await client.read() == "")
        }
    }

    @Test func `Whoever waits for 100 Continue gets it`() async throws {
        try await withServer { listener in
            let client = try await RawConnection.open(port: listener.port)
            try await client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
            #expect(await client.read { $0.contains("\r\n\r\n") }.hasPrefix("HTTP/1.1 100 "))
            try await client.send("ok")
            #expect(await client.read { $0.contains("ok") }.contains("POST"))
        }
    }

    @Test func `A port in use is named`() async throws {
        try await withServer { listener in
            let address = ListenAddress.tcp(host: "127.0.0.1", port: listener.port)
            let error = await #expect(throws: TransportError.self) {
                _ = try await Listener.start(on: address) { _, _ in }
            }
            #expect(error == .portInUse(address))
            #expect(error?.description.contains("port \(listener.port) ") == true)
        }
    }

    @Test func `A unix socket tells who is at its other end, and its file leaves with the listener`() async throws {
        let path = "/tmp/hedgerow-test-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
        let listener = try await HTTPServer.start(
            on: .unix(path: path, mode: 0o600), responder: Echo(), logger: Logger(label: "test"))
        let client = try await RawConnection.open(path: path)
        try await client.send("GET /peer HTTP/1.1\r\nhost: h\r\n\r\n")
        let answer = await client.read { $0.contains("uid=") }
        #expect(answer.contains("uid=\(getuid()) pid=\(getpid())"))
        var facts = stat()
        #expect(stat(path, &facts) == 0)
        #expect(facts.st_mode & 0o777 == 0o600)
        await client.close()
        await listener.shutDown(grace: .zero)
        #expect(stat(path, &facts) != 0)
    }

    private func clientTLS() throws -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(TestCertificate.server.utf8)))
        return tls
    }

    @Test func `A client certificate is taken, not demanded`() async throws {
        let certificate = try ServerCertificate(
            chainPEM: TestCertificate.server, privateKeyPEM: TestCertificate.serverKey)
        try await withServer(certificate: certificate) { listener in
            for version in [TLSVersion.tlsv12, .tlsv13] {
                for offers in [true, false] {
                    var tls = try clientTLS()
                    tls.maximumTLSVersion = version
                    if offers {
                        tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(TestCertificate.client.utf8))
                            .map { .certificate($0) }
                        tls.privateKey = .privateKey(
                            try NIOSSLPrivateKey(bytes: Array(TestCertificate.clientKey.utf8), format: .pem))
                    }
                    let client = try await RawConnection.open(port: listener.port, tls: tls)
                    try await client.send("GET /peer HTTP/1.1\r\nhost: h\r\n\r\n")
                    #expect(
                        await client.read { $0.contains("certificates=") }.contains("certificates=\(offers ? 1 : 0)"))
                    await client.close()
                }
            }
        }
    }

    @Test func `A certificate is replaced while the port is open`() async throws {
        let certificate = try ServerCertificate(
            chainPEM: TestCertificate.client, privateKeyPEM: TestCertificate.clientKey)
        #expect(throws: TransportError.self) {
            try certificate.replace(chainPEM: TestCertificate.server, privateKeyPEM: "no key")
        }
        try await withServer(certificate: certificate) { listener in
            let refused = try await RawConnection.open(port: listener.port, tls: try clientTLS())
            try? await refused.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            #expect(await refused.read() == "")
            try certificate.replace(chainPEM: TestCertificate.server, privateKeyPEM: TestCertificate.serverKey)
            let client = try await RawConnection.open(port: listener.port, tls: try clientTLS())
            try await client.send("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            #expect(await client.read().hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test func `A WebSocket gives its protocol a stream of bytes, and the port goes on with HTTP`() async throws {
        let echo = WebSocketEndpoint(paths: ["/$iothub/websocket"], subprotocol: "mqtt") { channel, _ in
            try channel.pipeline.syncOperations.addHandler(UpperCase())
        }
        try await withServer(webSockets: [echo]) { listener in
            func upgrade(_ path: String, _ name: String) -> String {
                "GET \(path) HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
                    + "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: \(name)\r\n\r\n"
            }
            let client = try await RawConnection.open(port: listener.port)
            try await client.send(upgrade("/$iothub/WebSocket?x=1", "MQTT"))
            let answer = await client.read { $0.contains("\r\n\r\n") }
            #expect(answer.hasPrefix("HTTP/1.1 101 "))
            #expect(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
            #expect(answer.contains("Sec-WebSocket-Protocol: MQTT"))
            // "hi", masked with zeros, in two frames.
            try await client.send([0x02, 0x81, 0, 0, 0, 0, 0x68, 0x80, 0x81, 0, 0, 0, 0, 0x69])
            #expect(await client.read { $0.hasSuffix("I") } == "\u{82}\u{01}H\u{82}\u{01}I".latin1)
            await client.close()

            for (path, name) in [("/$iothub/websocket", "soap"), ("/elsewhere", "mqtt")] {
                let refused = try await RawConnection.open(port: listener.port)
                try await refused.send(upgrade(path, name))
                #expect(await refused.read().hasPrefix("HTTP/1.1 400 "))
            }
            let plain = try await RawConnection.open(port: listener.port)
            try await plain.send("GET /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            #expect(await plain.read().hasPrefix("HTTP/1.1 200 "))
        }
    }
}

private final class UpperCase: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let text = String(buffer: Self.unwrapInboundIn(data)).uppercased()
        context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
    }
}

extension String {
    /// As the bytes of these code points read when taken for UTF-8.
    fileprivate var latin1: String { String(decoding: unicodeScalars.map { UInt8($0.value & 0xFF) }, as: UTF8.self) }
}
