import FoundationEssentials
import HubProtocol
import HubStore
import JSONDocument
import Logging
import Model
import NIOCore
import Testing

@testable import Hub

@Suite struct HubBackupTests {
    private let pi = IdentityKey(device: "pi")

    private func start(_ folder: String) async throws -> HubServer {
        var options = HubServer.Options(folder: folder)
        options.hostName = "localhost"
        options.bind = "127.0.0.1"
        (options.httpsPort, options.mqttPort, options.amqpPort) = (0, 0, 0)
        return try await HubServer.start(options, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    private func send(_ body: String, _ server: HubServer) async throws {
        let identity = try await server.registry.identity(pi)
        let sender = EventSender(
            deviceID: "pi", moduleID: nil, generationID: identity.generationID, authenticationMethod: "{}")
        let result = await withCheckedContinuation { continuation in
            server.backend.events.append([DeviceEvent(body: ByteBuffer(string: body))], from: sender) {
                continuation.resume(returning: $0)
            }
        }
        try result.get()
    }

    private func bodies(_ server: HubServer) async throws -> [(String, Int64)] {
        var found: [(String, Int64)] = []
        for block in try await server.backend.events.reader(from: .beginning).read() {
            for event in try block.events() { found.append((String(buffer: event.body), event.sequenceNumber)) }
        }
        return found
    }

    @Test func `A backup of a running hub brings back what was acknowledged, and numbers do not repeat`() async throws {
        let base = FileManager.default.temporaryDirectory.path + "/backup-\(UInt64.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: base, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: base) }
        let folder = HubFolder(base + "/hub")
        let first = try await start(folder.path)
        let made = try await first.registry.put(IdentityRequest([:], for: pi), condition: .none)
        _ = try await first.registry.patchTwin(pi, ["tags": ["a": 1]], condition: .none)
        try await send("1", first)
        let (string, authority) = (
            try folder.connectionString(policy: "iothubowner"), try folder.authorityPEM()
        )
        try folder.backUp(to: base + "/hub.tar")
        try await send("after", first)
        let last = try await bodies(first).last?.1 ?? 0
        #expect(throws: HubFolder.Failure.self) { try folder.restore(from: base + "/hub.tar") }
        await first.shutDown()
        let aside = try #require(try folder.restore(from: base + "/hub.tar"))
        #expect(FileManager.default.fileExists(atPath: aside + "/registry.db"))
        let second = try await start(folder.path)
        #expect(try await second.registry.identity(pi).authentication == made.authentication)
        #expect(try await second.registry.twin(pi).twin.tags == "{\"a\":1}")
        #expect(try folder.connectionString(policy: "iothubowner") == string)
        #expect(try folder.authorityPEM() == authority)
        try await send("2", second)
        let found = try await bodies(second)
        #expect(found.map(\.0) == ["1", "2"])
        #expect((found.last?.1 ?? 0) > last)
        await second.shutDown()
        let elsewhere = HubFolder(base + "/other")
        #expect(try elsewhere.restore(from: base + "/hub.tar") == nil)
        let third = try await start(elsewhere.path)
        #expect(try await bodies(third).map(\.0) == ["1"])
        await third.shutDown()
    }

    @Test func `A file that is no backup is refused and nothing is touched`() async throws {
        let base = FileManager.default.temporaryDirectory.path + "/backup-\(UInt64.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: base, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: base) }
        let folder = HubFolder(base + "/hub")
        let server = try await start(folder.path)
        await server.shutDown()
        try folder.backUp(to: base + "/hub.tar")
        let whole = try Data(contentsOf: URL(filePath: base + "/hub.tar"))
        var escaping = TarHeader(name: "../evil", size: 0).bytes(time: 0)
        escaping += [UInt8](repeating: 0, count: 1024)
        let wrong: [Data] = [
            Data(), Data("no archive".utf8), whole.prefix(whole.count / 2), Data(escaping), whole.prefix(700),
        ]
        for (place, content) in wrong.enumerated() {
            try content.write(to: URL(filePath: base + "/wrong.tar"))
            #expect(throws: (any Error).self, "case \(place)") { try folder.restore(from: base + "/wrong.tar") }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: base).sorted() == ["hub", "hub.tar", "wrong.tar"])
        let again = try await start(folder.path)
        await again.shutDown()
    }

    @Test func `An archive header says what it was given`() {
        let header = TarHeader(name: "events/000000000001.events", size: 123_456_789)
        let block = header.bytes(time: 1_700_000_000)
        #expect(TarHeader(block) == header)
        var broken = block
        broken[3] ^= 1
        #expect(TarHeader(broken) == nil)
    }
}
