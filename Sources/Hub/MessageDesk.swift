import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import Logging
import Model
import NIOCore
import Synchronization

/// Hands the messages that wait for devices out, and keeps those that were handed out locked until they are settled
/// (hub.md, section 10.4).
///
/// Locks are facts of this process: after a restart every message that waits is free again.
final class MessageDesk: Sendable {
    private enum Phase {
        /// Until then; `.never` for a message that is free again.
        case held(until: Timestamp)
        /// Its outcome is on the way to the disk.
        case settling
        /// It is gone from the disk, but a read that began before may still show it.
        case gone
    }

    private struct Hold {
        var lockToken: UUID
        /// Nil for one that was fetched.
        var session: (any DeviceSession)?
        var phase: Phase
    }

    private struct State {
        var holds: [IdentityKey: [Int64: Hold]] = [:]
        /// Reads of a queue that are under way.
        var reads: [IdentityKey: Int] = [:]
        /// Queues that are being handed to a session, and whether they have to be once more.
        var pumps: [IdentityKey: Bool] = [:]
        var timer: Task<Void, Never>?
        var wakeTime: Timestamp?
        var isEnding = false
    }

    private let registry: HubRegistry
    private let presence: HubPresence
    private let sleep: @Sendable (Duration) async throws -> Void
    private let logger: Logger
    private let state = Mutex(State())

    init(
        registry: HubRegistry, presence: HubPresence, logger: Logger,
        sleep: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.registry = registry
        self.presence = presence
        self.logger = logger
        self.sleep = sleep
    }

    // MARK: To sessions

    /// A message may wait that a session could be given.
    func pump(_ key: IdentityKey) {
        let begins = state.withLock { state in
            guard !state.isEnding else { return false }
            let isRunning = state.pumps[key] != nil
            state.pumps[key] = isRunning
            return !isRunning
        }
        guard begins else { return }
        Task {
            repeat {
                await deliver(key)
            } while state.withLock { state in
                guard state.pumps[key] == true else {
                    state.pumps[key] = nil
                    return false
                }
                state.pumps[key] = false
                return true
            }
        }
    }

    private func deliver(_ key: IdentityKey) async {
        guard let live = presence[key], live.subscriptions.contains(.cloudToDevice) else { return }
        let taken: [(WaitingMessage, CloudToDeviceMessage)]
        do {
            taken = try await take(key, for: live.session, lockTime: registry.messageLimits.lockTime, limit: .max)
        } catch {
            logger.warning("waiting messages were not read", metadata: ["identity": "\(key)", "error": "\(error)"])
            return
        }
        guard !taken.isEmpty else { return }
        live.session.deliver(
            taken.map { .cloudToDevice(token: DeliveryToken(UInt64(bitPattern: $0.number)), $1) })
        // A session that ended in between took nothing with it.
        if presence[key]?.session !== live.session { released(live.session) }
    }

    /// Locks messages that nobody holds, oldest first.
    private func take(
        _ key: IdentityKey, for session: (any DeviceSession)?, lockTime: Duration, limit: Int
    ) async throws(HubError) -> [(WaitingMessage, CloudToDeviceMessage)] {
        state.withLock { $0.reads[key, default: 0] += 1 }
        let waiting: [WaitingMessage]
        do throws(HubError) {
            waiting = try await registry.waitingMessages(of: key)
        } catch {
            state.withLock { Self.endRead(of: key, waiting: nil, in: &$0) }
            throw error
        }
        let now = registry.now()
        let end = now.after(lockTime)
        let taken = state.withLock { state in
            var taken: [(WaitingMessage, CloudToDeviceMessage)] = []
            var holds = state.holds[key] ?? [:]
            for message in waiting where taken.count < limit {
                let before = holds[message.number]
                switch before?.phase {
                case .settling?, .gone?: continue
                case .held(let until)? where until > now: continue
                default: break
                }
                let token = UUID()
                holds[message.number] = Hold(lockToken: token, session: session, phase: .held(until: end))
                taken.append((message, Self.message(message, token, isRedelivery: before != nil)))
            }
            state.holds[key] = holds
            Self.endRead(of: key, waiting: waiting, in: &state)
            return taken
        }
        if !taken.isEmpty { wake(at: end) }
        return taken
    }

    /// Forgets what is gone, as soon as no older read can show it.
    private static func endRead(of key: IdentityKey, waiting: [WaitingMessage]?, in state: inout State) {
        let left = (state.reads[key] ?? 1) - 1
        state.reads[key] = left > 0 ? left : nil
        guard left == 0, var holds = state.holds[key] else { return }
        let present = waiting.map { Set($0.map(\.number)) }
        holds = holds.filter { number, hold in
            switch hold.phase {
            case .gone: false
            case .settling: true
            // One that has expired or was purged.
            case .held: present?.contains(number) ?? true
            }
        }
        state.holds[key] = holds.isEmpty ? nil : holds
    }

    private static func message(
        _ message: WaitingMessage, _ token: UUID, isRedelivery: Bool
    ) -> CloudToDeviceMessage {
        CloudToDeviceMessage(
            event: DeviceEvent(
                propertyBag: ByteBuffer(bytes: message.propertyBag), body: ByteBuffer(bytes: message.body)),
            lockToken: token, sequenceNumber: message.number, enqueuedTime: message.enqueued, expiry: message.expiry,
            deliveryCount: message.deliveries, isRedelivery: isRedelivery)
    }

    // MARK: To those who fetch

    func receive(_ key: IdentityKey, lockTime: Duration?) async throws(HubError) -> CloudToDeviceMessage? {
        try await take(key, for: nil, lockTime: lockTime ?? registry.messageLimits.lockTime, limit: 1).first?.1
    }

    func settle(_ lockToken: UUID, _ outcome: DeliveryOutcome, of key: IdentityKey) async throws(HubError) {
        let now = registry.now()
        let number = state.withLock { state -> Int64? in
            guard let (number, hold) = state.holds[key]?.first(where: { $0.value.lockToken == lockToken }),
                case .held(let until) = hold.phase, until > now
            else { return nil }
            state.holds[key]?[number]?.phase = .settling
            return number
        }
        guard let number else {
            throw HubError(.deviceMessageLockLost, "The lock of the message has ended; fetch it again.")
        }
        try await carryOut(outcome, number, of: key)
    }

    // MARK: Outcomes

    /// A session has dealt with a message.
    func settled(_ token: DeliveryToken, _ outcome: DeliveryOutcome, by session: any DeviceSession) {
        let key = session.identity.key
        let number = Int64(bitPattern: token.value)
        // Nobody gave a message back that came when nobody listened any more.
        let wasRefused =
            outcome != .abandoned || presence[key]?.subscriptions.contains(.cloudToDevice) == true
        let isHeld = state.withLock { state in
            guard let hold = state.holds[key]?[number], hold.session === session, case .held = hold.phase else {
                return false
            }
            state.holds[key]?[number]?.phase = wasRefused ? .settling : .held(until: .never)
            return true
        }
        guard isHeld, wasRefused else { return }
        Task {
            do {
                try await carryOut(outcome, number, of: key)
            } catch {
                logger.warning(
                    "the outcome of a message was not written; it will be delivered again",
                    metadata: ["identity": "\(key)", "error": "\(error)"])
            }
        }
    }

    private func carryOut(_ outcome: DeliveryOutcome, _ number: Int64, of key: IdentityKey) async throws(HubError) {
        let stays: Bool
        do throws(HubError) {
            switch outcome {
            case .completed, .rejected:
                _ = try await registry.finishMessage(number, as: outcome == .completed ? .success : .rejected)
                stays = false
            case .abandoned: stays = try await registry.abandonMessage(number)
            }
        } catch {
            let end = registry.now().after(registry.messageLimits.lockTime)
            state.withLock { $0.holds[key]?[number]?.phase = .held(until: end) }
            wake(at: end)
            throw error
        }
        state.withLock { state in
            if stays {
                state.holds[key]?[number]?.phase = .held(until: .never)
            } else if state.reads[key] != nil {
                state.holds[key]?[number]?.phase = .gone
            } else {
                state.holds[key]?[number] = nil
                if state.holds[key]?.isEmpty == true { state.holds[key] = nil }
            }
        }
        if stays { pump(key) }
    }

    /// The session has ended: what it held is free.
    func released(_ session: any DeviceSession) {
        let key = session.identity.key
        let hasAny = state.withLock { state in
            var hasAny = false
            for (number, hold) in state.holds[key] ?? [:] where hold.session === session {
                guard case .held = hold.phase else { continue }
                state.holds[key]?[number]?.phase = .held(until: .never)
                hasAny = true
            }
            return hasAny
        }
        if hasAny { pump(key) }
    }

    /// The identity is gone, and its queue with it.
    func forget(_ key: IdentityKey) {
        state.withLock {
            $0.holds[key] = $0.holds[key]?.filter { if case .settling = $0.value.phase { true } else { false } }
        }
    }

    // MARK: Time

    /// Begins to watch what expires.
    func start() async throws(HubError) {
        if let next = try await registry.nextMessageExpiry() { wake(at: next) }
    }

    func shutDown() {
        let timer = state.withLock { state in
            state.isEnding = true
            defer { state.timer = nil }
            return state.timer
        }
        timer?.cancel()
    }

    /// At that time a lock ends, or a message expires.
    func wake(at time: Timestamp) {
        state.withLock { state in
            guard !state.isEnding else { return }
            if let planned = state.wakeTime, planned <= time { return }
            state.timer?.cancel()
            state.wakeTime = time
            // Not sooner than a moment from now, so that many ends are dealt with at once.
            let wait = max(registry.now().duration(to: time), .milliseconds(50))
            state.timer = Task { [sleep] in
                do { try await sleep(min(wait, .seconds(3600))) } catch { return }
                await self.sweep()
            }
        }
    }

    /// Takes expired messages out, and gives those whose lock has ended to whoever listens.
    func sweep() async {
        let now = registry.now()
        let due = state.withLock { state in
            state.wakeTime = nil
            return state.holds.filter { _, holds in
                holds.values.contains { if case .held(let until) = $0.phase { until <= now } else { false } }
            }.map(\.key)
        }
        for key in due { pump(key) }
        do throws(HubError) {
            if let next = try await registry.expireMessages() { wake(at: next) }
        } catch {
            logger.warning("expired messages were not removed", metadata: ["error": "\(error)"])
            wake(at: now.after(.seconds(60)))
        }
        let nextEnd = state.withLock { state in
            state.holds.values.joined().compactMap { entry -> Timestamp? in
                if case .held(let until) = entry.value.phase, until > now { until } else { nil }
            }.min()
        }
        if let nextEnd { wake(at: nextEnd) }
    }
}
