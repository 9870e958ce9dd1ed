import EdgeStore
import FoundationEssentials
import JSONDocument
import Model
import Synchronization

/// What the edge hub says of itself in its reported properties (edge-runtime.md, D.12).
final class HubReporter: Sendable {
    private struct Client {
        var isConnected = false
        var connected: Int64?
        var disconnected: Int64?

        var changed: Int64 { max(connected ?? 0, disconnected ?? 0) }
    }

    private struct State {
        var clients: [IdentityKey: Client] = [:]
        var version: Int?
        var code: Int?
        var description = ""
        var warnings: [Warning: String] = [:]
    }

    /// What an operator should know, and what is well again when it is no longer told.
    enum Warning: String, Hashable {
        case messageStore
    }

    /// One element for any number of changes since the last.
    let changes: AsyncStream<Void>
    private let changed: AsyncStream<Void>.Continuation
    private let state = Mutex(State())
    private let clock: StoreClock
    /// So that the whole stays within the 32 KB of a twin's section.
    private static let clientBytes = 24 * 1_024
    private static let clientLimit = 1_000
    private static let descriptionLimit = 2_000

    init(clock: StoreClock) {
        self.clock = clock
        (changes, changed) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        changed.yield()
    }

    func finish() { changed.finish() }

    func applied(version: Int, code: Int, description: String) {
        state.withLock { state in
            state.version = version
            state.code = code
            state.description = String(description.prefix(Self.descriptionLimit))
        }
        changed.yield()
    }

    /// Tells something, or with nil that it is over.
    func warn(_ warning: Warning, _ text: String?) {
        let isNews = state.withLock { state in
            guard state.warnings[warning] != text else { return false }
            state.warnings[warning] = text
            return true
        }
        if isNews { changed.yield() }
    }

    func connected(_ identity: IdentityKey) {
        let now = clock.wall()
        state.withLock { state in
            if state.clients[identity] == nil, state.clients.count >= Self.clientLimit {
                // The one that has been away for longest makes room.
                let oldest = state.clients.filter { !$0.value.isConnected }
                    .min { ($0.value.disconnected ?? 0) < ($1.value.disconnected ?? 0) }
                guard let oldest else { return }
                state.clients[oldest.key] = nil
            }
            state.clients[identity, default: Client()].isConnected = true
            state.clients[identity]?.connected = now
        }
        changed.yield()
    }

    func disconnected(_ identity: IdentityKey) {
        let now = clock.wall()
        state.withLock { state in
            // Modules stay, so that an operator sees which one is missing; leaf devices come and go.
            guard identity.isModule else {
                state.clients[identity] = nil
                return
            }
            state.clients[identity]?.isConnected = false
            state.clients[identity]?.disconnected = now
        }
        changed.yield()
    }

    /// The reported properties as they should be.
    func document() -> JSONObject {
        let state = self.state.withLock(\.self)
        var clients: JSONObject = [:]
        var bytes = 0
        // Those that changed last are told first, as far as there is room.
        let newest = state.clients.sorted {
            let (one, other) = ($0.value.changed, $1.value.changed)
            return one == other ? $0.key < $1.key : one > other
        }
        var told: [IdentityKey: JSONObject] = [:]
        for (identity, client) in newest {
            var entry: JSONObject = ["status": client.isConnected ? "Connected" : "Disconnected"]
            entry["lastConnectedTimeUtc"] = client.connected.map(Self.time)
            entry["lastDisconnectedTimeUtc"] = client.disconnected.map(Self.time)
            bytes += Self.key(identity).utf8.count + JSONValue.object(entry).text().utf8.count + 4
            guard bytes <= Self.clientBytes else { break }
            told[identity] = entry
        }
        for (identity, entry) in told.sorted(by: { $0.key < $1.key }) { clients[Self.key(identity)] = .object(entry) }
        var document: JSONObject = ["schemaVersion": "1.1", "version": ["version": "1.0.0", "build": "hedgerow"]]
        if let version = state.version, let code = state.code {
            document["lastDesiredVersion"] = JSONValue(version)
            document["lastDesiredStatus"] = ["code": JSONValue(code), "description": JSONValue(state.description)]
        }
        document["clients"] = .object(clients)
        if !state.warnings.isEmpty {
            var warnings: JSONObject = [:]
            for (warning, text) in state.warnings { warnings[warning.rawValue] = .string(text) }
            document["warnings"] = .object(warnings)
        }
        return document
    }

    private static func time(_ milliseconds: Int64) -> JSONValue {
        .string(Date(timeIntervalSince1970: Double(milliseconds) / 1_000).formatted(.iso8601))
    }

    /// Names of a twin hold neither dots, dollars, hashes nor blanks.
    private static func key(_ identity: IdentityKey) -> String {
        identity.description.replacing("%", with: "%25").replacing(".", with: "%2E").replacing("$", with: "%24")
            .replacing("#", with: "%23")
    }
}
