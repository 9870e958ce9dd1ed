import DeviceGateway
import HubProtocol
import HubStore
import Model
import Synchronization

/// Which identities hold a live connection, at most one each, and what they listen to.
///
/// The subscriptions of clients that connect without a clean session are kept over reconnects and restarts.
final class HubPresence: Sendable {
    struct Live: Sendable {
        let session: any DeviceSession
        let sender: EventSender
        let isPersistent: Bool
        var subscriptions: Set<DeviceSubscription> = []
    }

    private struct State {
        var live: [IdentityKey: Live] = [:]
        var kept: [IdentityKey: Set<DeviceSubscription>]
        var isClosed = false
        /// Of the newest change of any connection.
        var changeNumber: Int64

        /// Rises with each connection that begins or ends, over restarts too.
        mutating func nextChange() -> Int64 {
            changeNumber += 1
            return changeNumber
        }
    }

    private let state: Mutex<State>

    /// - Parameter firstChange: more than any number of an earlier run.
    init(kept: [IdentityKey: Set<DeviceSubscription>], firstChange: Int64 = 0) {
        state = Mutex(State(kept: kept, changeNumber: firstChange))
    }

    subscript(key: IdentityKey) -> Live? { state.withLock { $0.live[key] } }

    var count: Int { state.withLock { $0.live.count } }

    /// Nil when the hub is shutting down.
    func open(
        _ session: any DeviceSession, sender: EventSender, persistent: Bool
    ) -> (older: (any DeviceSession)?, forgets: Bool, resumption: SessionResumption, change: Int64)? {
        let key = session.identity.key
        return state.withLock { state in
            guard !state.isClosed else { return nil }
            let older = state.live[key]?.session
            let kept = state.kept[key]
            var live = Live(session: session, sender: sender, isPersistent: persistent)
            if persistent {
                live.subscriptions = []
                if kept == nil { state.kept[key] = [] }
            } else {
                state.kept[key] = nil
            }
            state.live[key] = live
            let resumption = SessionResumption(
                isPresent: persistent && kept != nil, subscriptions: persistent ? kept ?? [] : [])
            return (older, !persistent && kept != nil, resumption, state.nextChange())
        }
    }

    /// The number of the change when it was the live one, else nil.
    func close(_ session: any DeviceSession) -> Int64? {
        let key = session.identity.key
        return state.withLock { state in
            guard state.live[key]?.session === session else { return nil }
            state.live[key] = nil
            return state.nextChange()
        }
    }

    /// What changed, and whether it has to be kept; nil when the session is not the live one.
    func subscribe(
        _ session: any DeviceSession, to subscriptions: Set<DeviceSubscription>
    ) -> (added: Set<DeviceSubscription>, mustKeep: Bool)? {
        let key = session.identity.key
        return state.withLock { state in
            guard var live = state.live[key], live.session === session else { return nil }
            let added = subscriptions.subtracting(live.subscriptions)
            live.subscriptions = subscriptions
            state.live[key] = live
            guard live.isPersistent, state.kept[key] != subscriptions else { return (added, false) }
            state.kept[key] = subscriptions
            return (added, true)
        }
    }

    func end(_ key: IdentityKey, forgetting: Bool) -> (session: any DeviceSession, change: Int64)? {
        state.withLock { state in
            if forgetting { state.kept[key] = nil }
            return state.live.removeValue(forKey: key).map { ($0.session, state.nextChange()) }
        }
    }

    /// The identities whose connections were authenticated like that.
    func keys(where condition: (AuthenticatedIdentity) -> Bool) -> [IdentityKey] {
        state.withLock { $0.live.values.map(\.session.identity) }.filter(condition).map(\.key)
    }

    func closeAll() -> [any DeviceSession] {
        state.withLock { state in
            state.isClosed = true
            return state.live.values.map(\.session)
        }
    }
}
