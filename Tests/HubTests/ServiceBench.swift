import Foundation
import HubProtocol
import HubStore
import JSONDocument
import Logging
import Model
import NIOCore
import NIOHTTP1
import SQLite
import Synchronization
import Testing
import Transport

@testable import Hub

/// A registry on a file of its own, and requests to its REST interface without a socket.
final class ServiceBench: Sendable {
    let registry: HubRegistry
    let responder: ServiceResponder
    let listener = RecordingListener()
    let methods = AnsweringDevices()
    let folder: URL
    static let host = "hub.test"

    init(folder: URL? = nil) async throws {
        self.folder = folder ?? FileManager.default.temporaryDirectory.appending(path: "hub-\(UUID())")
        try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
        let database = try HubDatabase(path: self.folder.appending(path: "registry.db").path)
        let keys = Mutex(0)
        registry = try await HubRegistry(
            database: database, now: { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) },
            makeKey: {
                let number = keys.withLock {
                    $0 += 1
                    return $0
                }
                return Data("0123456789abcdef-\(number)".utf8).base64EncodedString()
            }, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        responder = ServiceResponder(
            registry: registry, methods: methods, hostNames: [Self.host],
            transferFolder: self.folder.appending(path: "transfers").path)
        registry.tell(listener)
    }

    /// Gives the body a bench and removes its file afterwards.
    static func with(_ body: (ServiceBench) async throws -> Void) async throws {
        let bench = try await ServiceBench()
        do {
            try await body(bench)
        } catch {
            await bench.end()
            throw error
        }
        await bench.end()
    }

    func stop() async {
        await responder.jobs.shutDown()
        await responder.transfers.shutDown()
        await registry.shutDown()
        registry.database.close()
    }

    func end() async {
        await stop()
        try? FileManager.default.removeItem(at: folder)
    }

    struct Answer: Sendable {
        let status: Int
        let headers: HTTPHeaders
        let bytes: [UInt8]
        var json: JSONValue { (try? JSONValue(parsing: bytes)) ?? .null }
        var error: String? { headers.first(name: "iothub-errorcode") }
    }

    func token(policy: String = "iothubowner", resource: String = ServiceBench.host, key: String? = nil) throws
        -> String
    {
        let key = key ?? registry.policies[policy]?.primaryKey ?? ""
        let expiry = Int64(Date().timeIntervalSince1970) + 600
        return try SASToken.sign(
            resource: resource, key: key, expiry: expiry, policy: policy.isEmpty ? nil : policy
        ).text
    }

    @discardableResult
    func send(
        _ method: HTTPMethod, _ target: String, _ body: JSONValue? = nil, raw: String? = nil, ifMatch: String? = nil,
        headers: [(String, String)] = [], token: String? = nil, version: String = "2021-04-12"
    ) async throws -> Answer {
        let separator = target.contains("?") ? "&" : "?"
        let whole = version.isEmpty ? target : "\(target)\(separator)api-version=\(version)"
        let parsed = try #require(HTTPTarget(parsing: whole))
        var all = HTTPHeaders(headers)
        all.add(name: "Authorization", value: try token ?? self.token())
        if let ifMatch { all.add(name: "If-Match", value: ifMatch) }
        let bytes = raw.map { Array($0.utf8) } ?? body?.bytes() ?? []
        let response = await responder.respond(
            to: HTTPRequest(
                method: method, target: whole, path: parsed.path, query: parsed.query, headers: all,
                body: ByteBuffer(bytes: bytes)))
        guard case .bytes(let buffer) = response.body else { throw HubDatabaseClosed() }
        return Answer(
            status: Int(response.status.code), headers: response.headers, bytes: Array(buffer.readableBytesView))
    }

    func makeDevice(_ id: String, isEdge: Bool = false, tags: JSONValue? = nil) async throws {
        let made = try await send(.PUT, "/devices/\(id)", ["capabilities": ["iotEdge": .bool(isEdge)]])
        #expect(made.status == 200)
        if let tags { try await send(.PATCH, "/twins/\(id)", ["tags": tags]) }
    }
}

final class RecordingListener: HubListener {
    struct Change: Sendable, Equatable {
        let key: IdentityKey
        let version: Int
        let patch: JSONValue
    }

    private let changes = Mutex<[Change]>([])
    private let ends = Mutex<[(IdentityKey, IdentityEnd)]>([])

    func desiredChanged(_ identity: IdentityKey, version: Int, patch: ByteBuffer) {
        let json = (try? JSONValue(parsing: patch.readableBytesView)) ?? .null
        changes.withLock { $0.append(Change(key: identity, version: version, patch: json)) }
    }

    func ended(_ identity: IdentityKey, because reason: IdentityEnd) {
        ends.withLock { $0.append((identity, reason)) }
    }

    func messageArrived(for identity: IdentityKey, expiry: Timestamp) {}

    func changes(of device: String, _ module: String? = nil) -> [Change] {
        changes.withLock { $0.filter { $0.key == IdentityKey(device: device, module: module) } }
    }

    func ends(of device: String, _ module: String? = nil) -> [IdentityEnd] {
        ends.withLock { $0.filter { $0.0 == IdentityKey(device: device, module: module) }.map(\.1) }
    }
}

/// Answers each method with what it was asked; `absent` is not online.
struct AnsweringDevices: MethodInvoker {
    func invoke(_ call: MethodCall, on identity: IdentityKey) async throws(HubError) -> MethodResult {
        guard identity.deviceID != "absent" else { throw HubError(.deviceNotOnline, "Nobody listens.") }
        return MethodResult(status: 207, payload: call.payload)
    }
}
