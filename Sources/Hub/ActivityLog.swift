import HubStore
import Logging
package import Model
import Synchronization

/// When each identity was last active and whether it is connected; seen at once, written in groups.
///
/// Connections are facts of this process: after a restart nobody is connected. Times are flushed about a second after
/// they change.
package final class ActivityLog: Sendable {
    private struct Entry {
        var lastActivity: Timestamp?
        var connectionChanged: Timestamp?
        var isConnected = false
        var isDirty = false
    }

    private struct State {
        var entries: [IdentityKey: Entry] = [:]
        var connectedDevices = 0
        var flushIsPlanned = false
    }

    private let state = Mutex(State())
    private let database: HubDatabase
    private let changes: HubChanges
    private let log: Logger
    private static let flushDelay = Duration.seconds(1)

    init(database: HubDatabase, changes: HubChanges, log: Logger) {
        self.database = database
        self.changes = changes
        self.log = log
    }

    /// Telemetry or a reported patch has come in.
    package func active(_ key: IdentityKey, at time: Timestamp) {
        change(key) { $0.lastActivity = max($0.lastActivity ?? time, time) }
    }

    package func connected(_ key: IdentityKey, at time: Timestamp) { setConnected(true, key, time) }
    package func disconnected(_ key: IdentityKey, at time: Timestamp) { setConnected(false, key, time) }

    private func setConnected(_ isConnected: Bool, _ key: IdentityKey, _ time: Timestamp) {
        change(key) {
            $0.connectionChanged = time
            $0.lastActivity = max($0.lastActivity ?? time, time)
            $0.isConnected = isConnected
        }
        changes.tell(device: key.deviceID)
    }

    /// The ids of the devices that are connected and pass, in no order.
    func connectedDevices(where condition: (String) -> Bool) -> [String] {
        state.withLock { state in
            state.entries.compactMap { key, entry in
                entry.isConnected && !key.isModule && condition(key.deviceID) ? key.deviceID : nil
            }
        }
    }

    /// Connected devices that were last heard of before that time.
    func quietDeviceCount(before time: Timestamp) -> Int {
        state.withLock { state in
            state.entries.count { key, entry in
                entry.isConnected && !key.isModule && entry.lastActivity.map { $0 < time } ?? false
            }
        }
    }

    /// Devices, without modules, that are connected now.
    package var connectedDeviceCount: Int { state.withLock { $0.connectedDevices } }

    /// Puts what is known here over what the database knew.
    package func complete(_ identity: inout Identity) {
        guard let entry = state.withLock({ $0.entries[identity.key] }) else { return }
        if let time = entry.lastActivity { identity.lastActivity = max(identity.lastActivity, time) }
        if let time = entry.connectionChanged { identity.connectionChanged = time }
        identity.isConnected = entry.isConnected
    }

    /// An identity was removed; one of the same name begins anew.
    func forget(_ key: IdentityKey) {
        state.withLock { state in
            if state.entries.removeValue(forKey: key)?.isConnected == true, !key.isModule {
                state.connectedDevices -= 1
            }
        }
    }

    private func change(_ key: IdentityKey, _ body: (inout Entry) -> Void) {
        let plansFlush = state.withLock { state in
            var entry = state.entries[key] ?? Entry()
            let wasConnected = entry.isConnected
            body(&entry)
            entry.isDirty = true
            if entry.isConnected != wasConnected, !key.isModule { state.connectedDevices += entry.isConnected ? 1 : -1 }
            state.entries[key] = entry
            defer { state.flushIsPlanned = true }
            return !state.flushIsPlanned
        }
        guard plansFlush else { return }
        Task {
            try? await Task.sleep(for: Self.flushDelay)
            await flush()
        }
    }

    /// Writes what has changed since the last time.
    package func flush() async {
        let dirty = state.withLock { state in
            state.flushIsPlanned = false
            var dirty: [(IdentityKey, Timestamp?, Timestamp?)] = []
            for (key, entry) in state.entries where entry.isDirty {
                dirty.append((key, entry.lastActivity, entry.connectionChanged))
                state.entries[key]?.isDirty = false
            }
            return dirty
        }
        guard !dirty.isEmpty else { return }
        for (key, _, _) in dirty { changes.tell(device: key.deviceID) }
        do {
            try await database.write { [dirty] transaction in
                for (key, activity, connection) in dirty {
                    try transaction.setActivity(key, lastActivity: activity, connectionChanged: connection)
                }
            }
        } catch {
            // The times stay visible in memory and are written with the next change.
            log.warning("activity times were not written", metadata: ["error": "\(error)"])
            state.withLock { state in for (key, _, _) in dirty { state.entries[key]?.isDirty = true } }
            return
        }
        state.withLock { state in
            for (key, _, _) in dirty {
                if let entry = state.entries[key], !entry.isDirty, !entry.isConnected { state.entries[key] = nil }
            }
        }
    }
}
