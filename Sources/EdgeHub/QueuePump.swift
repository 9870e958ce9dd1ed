import EdgeStore
import HubProtocol
import Synchronization

/// Takes the messages of one queue to its receiver, in order, with a window of unsettled ones.
///
/// All calls may come from any thread and return at once.
final class QueuePump: Sendable {
    /// Who gets the messages. Must return at once; may call the pump.
    typealias Receiver = @Sendable (_ messages: [StoredMessage], _ pump: QueuePump) -> Void

    private struct State {
        var window: QueueWindow
        var receiver: Receiver?
        var owner: ObjectIdentifier?
        var outbox: [(messages: [StoredMessage], receiver: Receiver)] = []
        var isSending = false
        /// The message whose way is timed; one at a time.
        var timed: (sequence: Int64, path: EdgeHubMetrics.Path, at: Int64)?
    }

    let queue: QueueName
    private let store: MessageStore
    private let metrics: EdgeHubMetrics
    private let clock: StoreClock
    private let state: Mutex<State>
    /// Told when a message waits while nobody is attached.
    private let onWaiting: @Sendable () -> Void

    private static let windowLimit = 256
    private static let windowBytes = 1 << 20

    init(
        _ queue: QueueName, store: MessageStore, mayHoldMore: Bool, metrics: EdgeHubMetrics, clock: StoreClock,
        onWaiting: @escaping @Sendable () -> Void = {}
    ) {
        self.queue = queue
        self.store = store
        self.metrics = metrics
        self.clock = clock
        self.onWaiting = onWaiting
        state = Mutex(
            State(
                window: QueueWindow(
                    limit: Self.windowLimit, byteLimit: Self.windowBytes, mayHoldMore: mayHoldMore)))
    }

    var isEmpty: Bool { state.withLock { $0.window.isEmpty } }

    func offer(_ messages: [StoredMessage]) {
        let waits = state.withLock { state in
            let wasEmpty = state.window.isEmpty
            let taken = state.window.offer(messages)
            enqueue(taken, &state)
            return wasEmpty && !state.window.isAttached
        }
        if waits { onWaiting() }
        proceed()
    }

    /// Gives the messages to a receiver, in place of an earlier one; what that one did not settle comes first.
    ///
    /// - Parameter owner: whoever may `detach` the receiver.
    func attach(_ owner: AnyObject, _ receiver: @escaping Receiver) {
        let owner = ObjectIdentifier(owner)
        let isNew = state.withLock { state in
            guard state.owner != owner else { return false }
            state.outbox.removeAll()
            state.window.detach()
            state.owner = owner
            state.receiver = receiver
            state.window.attach()
            return true
        }
        if isNew { proceed() }
    }

    /// Takes the queue from its receiver; without effect when another owner has it.
    func detach(_ owner: AnyObject) {
        let owner = ObjectIdentifier(owner)
        state.withLock { state in
            guard state.owner == owner else { return }
            state.window.detach()
            state.timed = nil
            state.receiver = nil
            state.owner = nil
            state.outbox.removeAll()
        }
    }

    /// The receiver is done with these messages, delivered or given up.
    func settle(_ sequences: some Sequence<Int64>) {
        let (done, timed) = state.withLock { state in
            let done = sequences.compactMap { state.window.settle($0) }
            guard let timed = state.timed, done.contains(where: { $0.sequence == timed.sequence }) else {
                return (done, nil as (path: EdgeHubMetrics.Path, at: Int64)?)
            }
            state.timed = nil
            return (done, (timed.path, timed.at))
        }
        if let timed { metrics.delivered(timed.path, after: Double(clock.monotonic() - timed.at) / 1_000) }
        store.remove(done, from: queue)
        proceed()
    }

    /// Sends a message that is still on its way once more.
    func repeatDelivery(of sequence: Int64) {
        state.withLock { state in
            guard let message = state.window.unsettledMessage(sequence) else { return }
            enqueue([message], &state)
        }
        proceed()
    }

    private func enqueue(_ messages: [StoredMessage], _ state: inout State) {
        guard !messages.isEmpty, let receiver = state.receiver else { return }
        state.outbox.append((messages, receiver))
    }

    /// Reads what is due and sends what was taken. One thread sends at a time, so that two cannot swap their messages,
    /// and outside the lock, so that the receiver may settle at once.
    private func proceed() {
        if let read = state.withLock({ $0.window.nextRead() }) {
            store.read(queue, after: read.places, limit: read.limit, byteLimit: read.byteLimit) { [self] result in
                guard case .success(let messages) = result else {
                    return state.withLock { $0.window.fail(read) }
                }
                state.withLock { state in enqueue(state.window.finish(read, messages), &state) }
                proceed()
            }
        }
        guard
            state.withLock({ state in
                if state.isSending || state.outbox.isEmpty { return false }
                state.isSending = true
                return true
            })
        else { return }
        while let next = state.withLock({ state -> (messages: [StoredMessage], receiver: Receiver)? in
            guard !state.outbox.isEmpty else {
                state.isSending = false
                return nil
            }
            return state.outbox.removeFirst()
        }) {
            count(next.messages)
            next.receiver(next.messages, self)
        }
    }

    /// Counts what goes out, neighbours that are alike together.
    private func count(_ messages: [StoredMessage]) {
        guard let first = messages.first else { return }
        var like = first
        var path = EdgeHubMetrics.Path(of: first, to: queue)
        let firstPath = path
        var number = 0
        for message in messages {
            let isAlike =
                message.priority == like.priority && message.source == like.source
                && message.event.propertyBag == like.event.propertyBag
            if !isAlike {
                metrics.sent(number, path)
                number = 0
                like = message
                path = EdgeHubMetrics.Path(of: message, to: queue)
            }
            number += 1
        }
        metrics.sent(number, path)
        let now = clock.monotonic()
        state.withLock { state in
            if state.timed == nil, state.window.unsettledMessage(first.sequence) != nil {
                state.timed = (first.sequence, firstPath, now)
            }
        }
    }
}
