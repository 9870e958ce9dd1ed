import Crypto
import EdgeHub
import EdgeStore
import Foundation
import HubProtocol
import JSONDocument
import Logging
import Model
import Synchronization
import Telemetry

#if canImport(Glibc)
    import Glibc
#endif

let probe = IdentityKey(device: "pi", module: "probe")
let lamp = IdentityKey(device: "pi", module: "lamp")
let ownIdentity = IdentityKey(device: "pi", module: "$edgeHub")
let leaf = IdentityKey(device: "leaf")

/// An edge hub on a folder of its own, with a hub in memory above it.
final class EdgeHubFixture: Sendable {
    let folder: String
    let upstream = TestUpstream()
    let time = Mutex<Int64>(1_800_000_000_000)
    let scope = TestScope()

    init() {
        var template = Array("/tmp/edgehub-XXXXXX\0".utf8CString)
        folder = template.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, let made = mkdtemp(start) else { fatalError("no temporary folder") }
            return String(cString: made)
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// Runs an edge hub on the folder while `body` runs; called again, it is the same one after a restart.
    func serve(
        connecting: (any UpstreamConnecting)? = nil, metrics: MetricsRegistry = MetricsRegistry(),
        configure: (inout EdgeHubConfiguration) -> Void = { _ in }, _ body: (EdgeHub) async throws -> Void
    ) async throws {
        var configuration = EdgeHubConfiguration(
            deviceID: "pi", hubHostName: "hub.example", gatewayHostName: "Gateway.local", stateFolder: folder)
        configure(&configuration)
        let environment = EdgeHubEnvironment(
            clock: StoreClock(wall: { self.time.withLock(\.self) }, monotonic: { self.time.withLock(\.self) }),
            // Back-off takes no time worth speaking of; what is planned for later waits for the end.
            sleep: { try await Task.sleep(for: $0 > .seconds(31) ? .seconds(3_600) : .milliseconds(1)) },
            random: { 0 })
        let hub = try EdgeHub(
            configuration, environment: environment, keys: TestKeys(), scope: scope, connecting: connecting ?? upstream,
            metrics: metrics, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        try await hub.prepare()
        let running = Task { await hub.run() }
        do {
            try await body(hub)
        } catch {
            running.cancel()
            await running.value
            throw error
        }
        running.cancel()
        await running.value
    }

    func connect(
        _ identity: IdentityKey, to hub: EdgeHub, listeningTo subscriptions: Set<DeviceSubscription> = [],
        persistent: Bool = false
    ) async throws -> TestSession {
        let session = TestSession(identity, hub)
        _ = try await hub.open(session, persistent: persistent)
        hub.subscriptionsChanged(session, to: subscriptions)
        return session
    }

    /// Sets the routes through the twin of `$edgeHub` and waits for the report.
    func route(
        _ routes: JSONObject, timeToLive: Int = 7_200, extra: JSONObject = [:], telling: Bool = true
    ) async -> TestUpstream.Twin? {
        var desired: JSONObject = [
            "schemaVersion": "1.1", "routes": .object(routes),
            "storeAndForwardConfiguration": ["timeToLiveSecs": JSONValue(timeToLive)],
        ]
        for (name, value) in extra { desired[name] = value }
        upstream.patchDesired(ownIdentity, desired, telling: telling)
        let version = upstream.state.value.twins[ownIdentity]?.desiredVersion
        return await upstream.state.wait { state in
            state.twins[ownIdentity]?.reported["lastDesiredVersion"]?.int == version
        }.twins[ownIdentity]
    }

    static func token(
        _ identity: IdentityKey, key: [UInt8]? = nil, host: String = "hub.example", expiry: Int64 = 1_800_003_600
    ) -> String {
        let path = identity.moduleID.map { "\(identity.deviceID)/modules/\($0)" } ?? identity.deviceID
        let key = SymmetricKey(data: key ?? TestKeys.key(identity.moduleID ?? ""))
        return SASToken.sign(resource: "\(host)/devices/\(path)", expiry: expiry) {
            Array(HMAC<SHA256>.authenticationCode(for: $0, using: key))
        }.text
    }
}

struct TestKeys: ModuleKeys {
    static func key(_ moduleID: String) -> [UInt8] { Array("key of \(moduleID)".utf8) }

    func credentials(ofModule moduleID: String) async -> ModuleCredentials? {
        guard ["probe", "lamp", "$edgeHub"].contains(moduleID) || moduleID.hasPrefix("m") else { return nil }
        return ModuleCredentials(
            generationID: "7", primaryKey: Self.key(moduleID), secondaryKey: Self.key(moduleID + " second"))
    }
}

final class TestScope: DeviceScope {
    struct Unreachable: Error {}

    let documents = Mutex<[JSONValue]?>([])
    let asked = Mutex(0)

    func identities() async throws -> [JSONValue] {
        guard let documents = documents.withLock(\.self) else { throw Unreachable() }
        return documents
    }

    func identity(_ key: IdentityKey) async throws -> JSONValue? {
        asked.withLock { $0 += 1 }
        return try await identities().first {
            $0["deviceId"]?.string == key.deviceID && $0["moduleId"]?.string == key.moduleID
        }
    }
}
