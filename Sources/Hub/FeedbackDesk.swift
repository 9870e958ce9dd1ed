package import DeviceGateway
package import FoundationEssentials
import HubStore
import JSONDocument
import Logging
package import Model
package import NIOCore
import SQLite
import Synchronization

/// A batch of feedback, locked for whoever it is handed to (hub.md, section 10.4).
package struct FeedbackBatch: Sendable {
    package let lockToken: UUID
    package let sequenceNumber: Int64
    package let enqueuedTime: Timestamp
    package let expiry: Timestamp
    package let deliveryCount: Int
    /// A JSON array of records; its type is `FeedbackDesk.contentType`.
    package let body: ByteBuffer
}

/// Gathers what became of messages to devices, and hands it to services batch by batch.
///
/// Records are on the disk from the moment the outcome is; locks are facts of this process.
package final class FeedbackDesk: Sendable {
    package static let contentType = "application/vnd.microsoft.iothub.feedback.json"
    /// How long records wait for others before they make a batch.
    static let gatherTime = Duration.seconds(15)
    static let lockTime = Duration.seconds(60)
    static let timeToLive = Duration.seconds(3600)
    static let deliveryLimit = 10

    private struct Hold {
        let lockToken: UUID
        var until: Timestamp
    }

    private struct State {
        var holds: [Int64: Hold] = [:]
        var lastNoted: ContinuousClock.Instant?
        var gathering: Task<Void, Never>?
        var waiters: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var nextWaiter: UInt64 = 0
        var isEnding = false
    }

    private let database: HubDatabase
    private let now: @Sendable () -> Timestamp
    private let log: Logger
    private let state = Mutex(State())

    init(database: HubDatabase, now: @escaping @Sendable () -> Timestamp, log: Logger) {
        self.database = database
        self.now = now
        self.log = log
    }

    // MARK: Gathering

    /// Records may have been written: they make a batch when none follows for a while.
    func noted() {
        wakeWaiters()
        state.withLock { state in
            guard !state.isEnding else { return }
            state.lastNoted = .now
            guard state.gathering == nil else { return }
            state.gathering = Task {
                while let wait = self.timeToGather() {
                    guard (try? await Task.sleep(for: wait)) != nil else { return }
                }
                await self.gather()
            }
        }
    }

    /// Nil when it is time.
    private func timeToGather() -> Duration? {
        state.withLock { state in
            let wait = state.lastNoted.map { ContinuousClock.now.duration(to: $0 + Self.gatherTime) } ?? .zero
            if wait <= .zero {
                state.gathering = nil
                return nil
            }
            return wait
        }
    }

    /// Makes a batch of what is there, and drops batches that nobody fetched in time.
    func gather() async {
        let time = now()
        do {
            let made = try await database.write { transaction in
                try transaction.expireFeedback(createdBefore: time.after(.zero - Self.timeToLive))
                return try transaction.gatherFeedback(at: time)
            }
            if made { wakeWaiters() }
        } catch {
            log.warning("feedback was not gathered", metadata: ["error": "\(error)"])
        }
    }

    func shutDown() {
        let (gathering, waiters) = state.withLock { state in
            state.isEnding = true
            defer { state.waiters = [:] }
            return (state.gathering, Array(state.waiters.values))
        }
        gathering?.cancel()
        for waiter in waiters { waiter.finish() }
    }

    // MARK: Handing out

    /// Locks the oldest batch that nobody holds; nil when there is none.
    package func receive() async throws(HubError) -> FeedbackBatch? {
        let numbers = try await read { try $0.feedbackBatches() }
        while true {
            let time = now()
            let token = UUID()
            let chosen = state.withLock { state -> Int64? in
                state.holds = state.holds.filter { $0.value.until > time }
                guard let number = numbers.first(where: { state.holds[$0] == nil }) else { return nil }
                state.holds[number] = Hold(lockToken: token, until: time.after(Self.lockTime))
                return number
            }
            guard let chosen else { return nil }
            let found = try await read { try $0.feedbackBatch(chosen) }
            let expiry = found.map { $0.created.after(Self.timeToLive) } ?? .never
            if let found, expiry > time, !found.records.isEmpty {
                return FeedbackBatch(
                    lockToken: token, sequenceNumber: chosen, enqueuedTime: found.created, expiry: expiry,
                    deliveryCount: found.deliveries, body: Self.body(of: found.records))
            }
            // Settled meanwhile, expired, or about devices that are gone.
            try await write { try $0.removeFeedback(chosen) }
        }
    }

    /// Waits for a batch and locks it.
    ///
    /// - Throws: `HubError`: `serviceUnavailable` when the hub shuts down; `CancellationError`.
    package func next() async throws -> FeedbackBatch {
        while true {
            let (id, stream) = try wait()
            defer { state.withLock { _ = $0.waiters.removeValue(forKey: id) } }
            if let batch = try await receive() { return batch }
            // Looks again when a lock may have ended.
            await withTaskGroup(of: Void.self) { group in
                group.addTask { for await _ in stream { return } }
                group.addTask { try? await Task.sleep(for: Self.lockTime) }
                await group.next()
                group.cancelAll()
            }
            try Task.checkCancellation()
        }
    }

    private func wait() throws(HubError) -> (UInt64, AsyncStream<Void>) {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = state.withLock { state -> UInt64? in
            guard !state.isEnding else { return nil }
            state.nextWaiter += 1
            state.waiters[state.nextWaiter] = continuation
            return state.nextWaiter
        }
        guard let id else { throw HubError(.serviceUnavailable, "The hub is shutting down.") }
        return (id, stream)
    }

    private func wakeWaiters() {
        for waiter in state.withLock({ Array($0.waiters.values) }) { waiter.yield() }
    }

    /// Settles a batch; returns once that is durable. One that is rejected goes, like one that is completed.
    ///
    /// - Throws: `HubError`: `deviceMessageLockLost` when the lock has ended.
    package func settle(_ lockToken: UUID, _ outcome: DeliveryOutcome) async throws(HubError) {
        let time = now()
        let number = state.withLock { state in
            state.holds.first { $0.value.lockToken == lockToken && $0.value.until > time }?.key
        }
        guard let number else {
            throw HubError(.deviceMessageLockLost, "The lock of the feedback has ended; fetch it again.")
        }
        try await write { transaction in
            switch outcome {
            case .completed, .rejected: try transaction.removeFeedback(number)
            case .abandoned: try transaction.abandonFeedback(number, limit: Self.deliveryLimit)
            }
        }
        state.withLock { _ = $0.holds.removeValue(forKey: number) }
        if outcome == .abandoned { wakeWaiters() }
    }

    private func read<Result: Sendable>(
        _ body: @escaping @Sendable (SQLiteDatabase) throws -> Result
    ) async throws(HubError) -> Result {
        do { return try await database.read(body) } catch { throw HubRegistry.refusal(error, log: log) }
    }

    private func write<Result: Sendable>(
        _ body: @escaping @Sendable (WriteTransaction) throws -> Result
    ) async throws(HubError) -> Result {
        do { return try await database.write(body) } catch { throw HubRegistry.refusal(error, log: log) }
    }

    private static func body(of records: [FeedbackRecord]) -> ByteBuffer {
        let array = records.map { record -> JSONValue in
            var json: JSONObject = [
                "originalMessageId": .string(record.messageID), "enqueuedTimeUtc": .string(record.time.description),
                "statusCode": .string(record.outcome.rawValue), "description": .string(record.outcome.rawValue),
                "deviceId": .string(record.key.deviceID),
            ]
            if let moduleID = record.key.moduleID { json["moduleId"] = .string(moduleID) }
            json["deviceGenerationId"] = .string(record.generationID)
            return .object(json)
        }
        return ByteBuffer(bytes: JSONValue(array).bytes())
    }
}
