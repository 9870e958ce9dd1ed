import HubProtocol
import HubStore
import Logging
import Model
import SQLite
import Synchronization

/// The subscriptions that clients without a clean session left behind, on disk.
///
/// Written a moment after they change: the newest may be lost with the power, which costs a client one more SUBSCRIBE.
final class SessionTable: Sendable {
    private struct State {
        /// Nil stands for a session that is to be forgotten.
        var dirty: [IdentityKey: Set<DeviceSubscription>?] = [:]
        var isWriting = false
    }

    private let database: HubDatabase
    private let logger: Logger
    private let state = Mutex(State())

    init(database: HubDatabase, logger: Logger) {
        self.database = database
        self.logger = logger
    }

    func all() async throws -> [IdentityKey: Set<DeviceSubscription>] {
        let rows = try await database.read { database in
            try database.rows("SELECT device, module, subscriptions FROM session") { row in
                let module = row.text(1)
                let names = row.text(2).split(separator: ",").compactMap { DeviceSubscription(rawValue: String($0)) }
                return (IdentityKey(device: row.text(0), module: module.isEmpty ? nil : module), Set(names))
            }
        }
        return Dictionary(rows, uniquingKeysWith: { first, _ in first })
    }

    func keep(_ key: IdentityKey, _ subscriptions: Set<DeviceSubscription>) { change(key, subscriptions) }
    func forget(_ key: IdentityKey) { change(key, nil) }

    private func change(_ key: IdentityKey, _ subscriptions: Set<DeviceSubscription>?) {
        let begins = state.withLock { state in
            state.dirty[key] = .some(subscriptions)
            defer { state.isWriting = true }
            return !state.isWriting
        }
        if begins { Task { await write() } }
    }

    /// Writes until nothing is left; one task at a time does.
    private func write() async {
        while true {
            let dirty = state.withLock { state in
                defer { state.dirty = [:] }
                if state.dirty.isEmpty { state.isWriting = false }
                return state.dirty
            }
            guard !dirty.isEmpty else { return }
            await write(dirty)
        }
    }

    func flush() async {
        let dirty = state.withLock { state in
            defer { state.dirty = [:] }
            return state.dirty
        }
        await write(dirty)
    }

    private func write(_ dirty: [IdentityKey: Set<DeviceSubscription>?]) async {
        guard !dirty.isEmpty else { return }
        do {
            try await database.write { transaction in
                for (key, subscriptions) in dirty {
                    if let subscriptions {
                        let names = subscriptions.map(\.rawValue).sorted().joined(separator: ",")
                        try transaction.database.run(
                            "INSERT OR REPLACE INTO session VALUES (?, ?, ?)", .text(key.deviceID),
                            .text(key.moduleID ?? ""), .text(names))
                    } else {
                        try transaction.database.run(
                            "DELETE FROM session WHERE device = ? AND module = ?", .text(key.deviceID),
                            .text(key.moduleID ?? ""))
                    }
                }
            }
        } catch {
            // The sessions go on; only a restart would not know of them.
            logger.warning("sessions were not kept", metadata: ["error": "\(error)"])
        }
    }
}
