import DeviceGateway
import HubProtocol
import Model
import NIOCore
import Synchronization

/// The direct methods that wait for their answer.
final class MethodCalls: Sendable {
    private struct Call {
        let target: IdentityKey
        let answer: @Sendable (MethodAnswer?) -> Void
    }

    private struct State {
        var nextID = 1
        var calls: [String: Call] = [:]
    }

    private let state = Mutex(State())
    /// Far more than any device has; one caller cannot fill the memory.
    private static let limit = 1_000

    /// Gives a method to a session.
    ///
    /// - Parameter answer: called once, with nil when the session ended or too many calls wait.
    /// - Returns: the id by which the call can be given up.
    func call(
        _ name: String, payload: ByteBuffer, on session: any DeviceSession,
        answer: @escaping @Sendable (MethodAnswer?) -> Void
    ) -> String? {
        let id: String? = state.withLock { state in
            guard state.calls.count < Self.limit else { return nil }
            let id = String(state.nextID)
            state.nextID += 1
            state.calls[id] = Call(target: session.identity.key, answer: answer)
            return id
        }
        guard let id else {
            answer(nil)
            return nil
        }
        session.deliver([.method(id: id, name: name, payload: payload)])
        return id
    }

    /// An answer; ignored when nobody waits for it or another identity gives it.
    func answered(_ answer: MethodAnswer, by identity: IdentityKey) {
        let call: Call? = state.withLock { state in
            guard state.calls[answer.id]?.target == identity else { return nil }
            return state.calls.removeValue(forKey: answer.id)
        }
        call?.answer(answer)
    }

    func giveUp(_ id: String) {
        state.withLock { $0.calls.removeValue(forKey: id) }?.answer(nil)
    }

    /// A session has ended: what waits for it will not be answered.
    func giveUpAll(for identity: IdentityKey) {
        let gone = state.withLock { state in
            let gone = state.calls.filter { $0.value.target == identity }
            for id in gone.keys { state.calls[id] = nil }
            return gone
        }
        for call in gone.values { call.answer(nil) }
    }
}
