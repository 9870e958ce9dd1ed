import DeviceGateway
import FoundationEssentials
import HubStore
import JSONDocument
import Logging
import Model
import NIOCore
import Synchronization

/// A notification of a file, locked for whoever it is handed to.
struct HeldFileNotification: Sendable {
    let lockToken: UUID
    let notification: FileNotification

    var expiry: Timestamp { notification.created.after(FileNotificationDesk.timeToLive) }

    var body: ByteBuffer {
        let json: JSONValue = [
            "deviceId": .string(notification.deviceID), "blobUri": .string(notification.uri),
            "blobName": .string("\(notification.deviceID)/\(notification.blob)"),
            "lastUpdatedTime": .string(notification.modified.description),
            "blobSizeInBytes": JSONValue(Int(notification.size)),
            "enqueuedTimeUtc": .string(notification.created.description),
        ]
        return ByteBuffer(bytes: json.bytes())
    }

    func message(userID: String) -> FeedbackMessage {
        FeedbackMessage(
            lockToken: lockToken, sequenceNumber: notification.number, enqueuedTime: notification.created,
            expiry: expiry, deliveryCount: notification.deliveries, body: body, userID: userID)
    }
}

/// Hands notifications of uploaded files to services, one by one (hub.md, section 8).
///
/// Notifications are on the disk before the device is told that its upload is done; locks are facts of this process.
final class FileNotificationDesk: Sendable {
    static let lockTime = Duration.seconds(60)
    static let timeToLive = Duration.seconds(3600)
    static let deliveryLimit = 10
    /// How many a look at the queue sees; as many can be held at a time.
    private static let window = 1000

    private struct State {
        var holds: [Int64: (token: UUID, until: Timestamp)] = [:]
        var waiters: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var nextWaiter: UInt64 = 0
        var isEnding = false
    }

    private let registry: HubRegistry
    private let state = Mutex(State())

    init(registry: HubRegistry) { self.registry = registry }

    /// One more waits.
    func noted() {
        for waiter in state.withLock({ Array($0.waiters.values) }) { waiter.yield() }
    }

    func shutDown() {
        let waiters = state.withLock { state in
            state.isEnding = true
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.finish() }
    }

    /// Locks the oldest that nobody holds; nil when there is none.
    func receive() async throws(HubError) -> HeldFileNotification? {
        while true {
            let numbers = try await registry.read { try $0.fileNotifications(limit: Self.window) }
            let (time, token) = (registry.now(), UUID())
            let chosen = state.withLock { state -> Int64? in
                state.holds = state.holds.filter { $0.value.until > time }
                guard let number = numbers.first(where: { state.holds[$0] == nil }) else { return nil }
                state.holds[number] = (token, time.after(Self.lockTime))
                return number
            }
            guard let chosen else { return nil }
            if let found = try await registry.read({ try $0.fileNotification(chosen) }) {
                let held = HeldFileNotification(lockToken: token, notification: found)
                if held.expiry > time { return held }
                try await registry.write { try $0.removeFileNotification(chosen) }
            }
        }
    }

    /// Waits for one and locks it.
    ///
    /// - Throws: `HubError`: `serviceUnavailable` when the hub shuts down; `CancellationError`.
    func next() async throws -> HeldFileNotification {
        while true {
            let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
            let id = state.withLock { state -> UInt64? in
                guard !state.isEnding else { return nil }
                state.nextWaiter += 1
                state.waiters[state.nextWaiter] = continuation
                return state.nextWaiter
            }
            guard let id else { throw HubError(.serviceUnavailable, "The hub is shutting down.") }
            defer { state.withLock { _ = $0.waiters.removeValue(forKey: id) } }
            if let held = try await receive() { return held }
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

    /// - Throws: `HubError`: `deviceMessageLockLost` when the lock has ended.
    func settle(_ lockToken: UUID, _ outcome: DeliveryOutcome) async throws(HubError) {
        let time = registry.now()
        let number = state.withLock { state in
            state.holds.first { $0.value.token == lockToken && $0.value.until > time }?.key
        }
        guard let number else {
            throw HubError(.deviceMessageLockLost, "The lock of the notification has ended; fetch it again.")
        }
        try await registry.write { transaction in
            switch outcome {
            case .completed, .rejected: try transaction.removeFileNotification(number)
            case .abandoned: try transaction.abandonFileNotification(number, limit: Self.deliveryLimit)
            }
        }
        state.withLock { _ = $0.holds.removeValue(forKey: number) }
        if outcome == .abandoned { noted() }
    }
}
