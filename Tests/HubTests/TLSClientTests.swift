import FoundationEssentials
import HubProtocol
import JSONDocument
import MQTTCodec
import Model
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import PKI
import Testing

@testable import Hub

/// Clients with certificates over real TLS, and clients that hold the ports' attention.
@Suite(.timeLimit(.minutes(10))) struct TLSClientTests {
    private func leaf(_ authority: CertificateAuthority, _ name: String) throws -> IssuedCertificate {
        try authority.issueClientCertificate(commonName: name, lifetime: 3600, now: Date())
    }

    private func authority(_ hub: RunningServer, _ name: String) throws -> CertificateAuthority {
        try .load(orCreateIn: "\(hub.folder)/test-\(name)", commonName: name, now: Date())
    }

    private func context(_ hub: RunningServer, _ certificate: IssuedCertificate) throws -> NIOSSLContext {
        var tls = TLSConfiguration.makeClientConfiguration()
        let root = try HubFolder(hub.folder).authorityPEM()
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(root.utf8)))
        tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.chainPEM.utf8)).map {
            .certificate($0)
        }
        tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(certificate.privateKeyPEM.utf8), format: .pem))
        return try NIOSSLContext(configuration: tls)
    }

    private func answer(
        _ hub: RunningServer, _ id: String, _ certificate: IssuedCertificate
    ) async throws -> MQTTPacket? {
        let peer = try await TLSPeer(port: hub.server.mqttPort, context: try context(hub, certificate))
        let answer = try await peer.connect(id, userName: "localhost/\(id)/?api-version=2019-10-01", password: "")
        try? await peer.close()
        return answer
    }

    private static let accepted = MQTTPacket.connectAnswer(sessionPresent: false, .accepted)
    private static let refused = MQTTPacket.connectAnswer(sessionPresent: false, .notAuthorized)

    @Test func `A certificate opens the device whose thumbprint or authority it bears, and nothing else`() async throws
    {
        try await RunningServer.with { hub in
            let (factory, stranger) = (try authority(hub, "factory"), try authority(hub, "stranger"))
            let own = try leaf(stranger, "thumb")
            let der = try #require(CertificateChain.der(own.chainPEM))
            let print = try #require(CertificateFacts(der: der)).sha256Thumbprint
            let registry = hub.server.registry
            func register(_ id: String, _ body: JSONValue) async throws {
                _ = try await registry.put(
                    IdentityRequest(["authentication": body], for: IdentityKey(device: id)), condition: .none)
            }
            try await register(
                "thumb", ["type": "selfSigned", "x509Thumbprint": ["primaryThumbprint": .string(print)]])
            try await register("line", ["type": "certificateAuthority"])
            try await register("keyed", ["type": "sas"])
            _ = try await registry.putAuthority(
                "factory", ["certificate": .string(factory.certificatePEM), "isVerified": true])
            #expect(try await answer(hub, "thumb", own) == Self.accepted)
            #expect(try await answer(hub, "line", try leaf(factory, "line")) == Self.accepted)
            // A certificate that nobody knows ends in an answer, not in a broken handshake.
            #expect(try await answer(hub, "thumb", try leaf(stranger, "thumb")) == Self.refused)
            #expect(try await answer(hub, "line", try leaf(stranger, "line")) == Self.refused)
            #expect(try await answer(hub, "line", try leaf(factory, "other")) == Self.refused)
            #expect(try await answer(hub, "keyed", try leaf(factory, "keyed")) == Self.refused)
            #expect(try await answer(hub, "nobody", try leaf(factory, "nobody")) == Self.refused)
            #expect(try await answer(hub, "thumb", own) == Self.accepted)
        }
    }

    /// A device with keys that is connected, and sends while `body` goes on.
    private func withGoodClient(_ hub: RunningServer, _ body: () async throws -> Void) async throws {
        let key = IdentityKey(device: "good")
        let made = try await hub.server.registry.put(IdentityRequest([:], for: key), condition: .none)
        let token = try SASToken.sign(
            resource: "localhost/devices/good", key: made.authentication.keys.primary ?? "", expiry: 9_999_999_999
        ).text
        func exchange(_ id: MQTTPacketID, _ peer: TLSPeer) async throws {
            try await peer.send(
                .publish(
                    MQTTPublish(
                        topic: ByteBuffer(string: "devices/good/messages/events/"), payload: ByteBuffer(string: "x"),
                        quality: .atLeastOnce, packetID: id)))
            #expect(await peer.next() == .publishAnswer(id))
        }
        let early = try await TLSPeer(port: hub.server.mqttPort, context: hub.trust)
        let name = "localhost/good/?api-version=2019-10-01"
        #expect(try await early.connect("good", userName: name, password: token) == Self.accepted)
        try await exchange(1, early)
        try await body()
        try await exchange(2, early)
        let late = try await TLSPeer(port: hub.server.mqttPort, context: hub.trust)
        #expect(try await late.connect("good", userName: name, password: token) == Self.accepted)
        try await exchange(3, late)
        #expect(try await hub.call(.GET, "/devices/good").0 == 200)
        try? await late.close()
    }

    /// `HEDGEROW_HALF_OPEN` asks for more connections than a run of all tests needs.
    @Test func `Handshakes that never end leave the ports to others`() async throws {
        let count = ProcessInfo.processInfo.environment["HEDGEROW_HALF_OPEN"].flatMap { Int($0) } ?? 300
        try await RunningServer.with { hub in
            var channels: [any Channel] = []
            try await withGoodClient(hub) {
                let ports = [hub.server.mqttPort, hub.server.httpsPort, hub.server.amqpPort]
                // The first bytes of a ClientHello that never comes whole; some say nothing at all.
                let hello: [UInt8] = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03]
                for number in 0..<count {
                    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                        .connect(host: "127.0.0.1", port: ports[number % ports.count]).get()
                    if number % 4 != 0 { try await channel.writeAndFlush(ByteBuffer(bytes: hello)) }
                    channels.append(channel)
                }
            }
            for channel in channels { try? await channel.close() }
        }
    }

    @Test func `What is no TLS at all is cut off, and the port goes on`() async throws {
        try await RunningServer.with { hub in
            try await withGoodClient(hub) {
                for port in [hub.server.mqttPort, hub.server.httpsPort, hub.server.amqpPort] {
                    for bytes in [
                        Array("GET / HTTP/1.1\r\n\r\n".utf8), [0x10, 0x0C, 0, 4] + Array("MQTT".utf8),
                        Array(repeating: 0, count: 4096), Array(repeating: 0xFF, count: 4096),
                    ] {
                        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                            .connect(host: "127.0.0.1", port: port).get()
                        try? await channel.writeAndFlush(ByteBuffer(bytes: bytes))
                        try await channel.closeFuture.get()
                    }
                }
            }
        }
    }

    @Test func `A client that asks on and never reads holds nobody up`() async throws {
        try await RunningServer.with { hub in
            let key = IdentityKey(device: "deaf")
            let made = try await hub.server.registry.put(IdentityRequest([:], for: key), condition: .none)
            _ = try await hub.server.registry.patchTwin(
                key, ["properties": ["desired": ["text": .string(String(repeating: "x", count: 4000))]]],
                condition: .none)
            let token = try SASToken.sign(
                resource: "localhost/devices/deaf", key: made.authentication.keys.primary ?? "", expiry: 9_999_999_999
            ).text
            try await withGoodClient(hub) {
                let trust = hub.trust
                let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try channel.pipeline.syncOperations.addHandler(
                                NIOSSLClientHandler(context: trust, serverHostname: "localhost"))
                        }
                    }.connect(host: "127.0.0.1", port: hub.server.mqttPort).get()
                var buffer = ByteBuffer()
                buffer.writeMQTT(
                    .connect(
                        MQTTConnect(
                            clientID: "deaf", cleanSession: true, userName: "localhost/deaf/?api-version=2019-10-01",
                            password: ByteBuffer(string: token))))
                try await channel.writeAndFlush(buffer)
                let activity = hub.server.registry.activity
                while activity.connectedDeviceCount < 2 { await Task.yield() }
                try await channel.setOption(.autoRead, value: false).get()
                // Each is answered with 4 KB: far more than sockets and the hub's windows take.
                for round in 0..<40 {
                    var requests = ByteBuffer()
                    for number in 0..<50 {
                        requests.writeMQTTPublish(
                            MQTTPublish(
                                topic: ByteBuffer(string: "$iothub/twin/GET/?$rid=\(round * 50 + number)"),
                                payload: ByteBuffer(string: " ")))
                    }
                    // Nobody waits for it: it stays unwritten once the hub no longer reads.
                    channel.writeAndFlush(requests, promise: nil)
                }
                try await exchangeTwin(of: key, hub)
                try? await channel.close()
            }
        }
    }

    private func exchangeTwin(of key: IdentityKey, _ hub: RunningServer) async throws {
        let (status, twin) = try await hub.call(.GET, "/twins/\(key.deviceID)")
        #expect(status == 200 && twin["deviceId"]?.string == key.deviceID)
    }

    @Test func `A client that speaks byte by byte is served, and holds nobody up`() async throws {
        try await RunningServer.with { hub in
            let key = IdentityKey(device: "slow")
            let made = try await hub.server.registry.put(IdentityRequest([:], for: key), condition: .none)
            let token = try SASToken.sign(
                resource: "localhost/devices/slow", key: made.authentication.keys.primary ?? "", expiry: 9_999_999_999
            ).text
            try await withGoodClient(hub) {
                let peer = try await TLSPeer(port: hub.server.mqttPort, context: hub.trust)
                var buffer = ByteBuffer()
                buffer.writeMQTT(
                    .connect(
                        MQTTConnect(
                            clientID: "slow", cleanSession: true, userName: "localhost/slow/?api-version=2019-10-01",
                            password: ByteBuffer(string: token))))
                for byte in buffer.readableBytesView { try await peer.send(bytes: [byte]) }
                #expect(await peer.next() == Self.accepted)
                try? await peer.close()
            }
        }
    }
}
