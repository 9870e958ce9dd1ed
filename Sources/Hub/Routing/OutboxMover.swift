import HubProtocol
import HubStore
import Logging
import Model
import NIOCore

/// Brings events from the outbox of the registry into the message log, in order and at least once.
final class OutboxMover: Sendable {
    private let registry: HubRegistry
    private let intake: EventIntake
    private let logger: Logger
    private let wakes: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation

    private static let batchSize = 256

    init(registry: HubRegistry, intake: EventIntake, logger: Logger) {
        self.registry = registry
        self.intake = intake
        self.logger = logger
        (wakes, waker) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    func wake() { waker.yield() }

    /// Moves what is there and then what comes, until the task is cancelled.
    func run(sleep: @Sendable (Duration) async throws -> Void) async {
        wake()
        for await _ in wakes {
            do {
                while try await moveSome() {}
            } catch {
                guard !Task.isCancelled else { return }
                logger.warning("events wait for the log", metadata: ["error": "\(error)"])
                try? await sleep(.seconds(1))
                wake()
            }
        }
    }

    /// - Returns: whether there may be more.
    private func moveSome() async throws -> Bool {
        let found = try await registry.database.read { try $0.outbox(after: 0, limit: Self.batchSize) }
        guard let last = found.last?.number else { return false }
        let runs = found.map { _, event in
            EventRun(
                [DeviceEvent(propertyBag: ByteBuffer(string: event.propertyBag), body: ByteBuffer(string: event.body))],
                source: event.source,
                from: EventSender(
                    deviceID: event.key.deviceID, moduleID: event.key.moduleID, generationID: event.generationID,
                    authenticationMethod: HubCredentials.hubMethod))
        }
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            intake.append(runs) { continuation.resume(with: $0.mapError { $0 as any Error }) }
        }
        try await registry.database.write { try $0.emptyOutbox(through: last) }
        return found.count == Self.batchSize
    }
}
