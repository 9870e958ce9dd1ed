import HubStore
import Logging
import Model
import Synchronization

/// Carries changed configurations to all devices they concern, batch by batch; what is left to do is in the database, so
/// that a restart goes on where the end came.
final class EvaluationWorker: Sendable {
    private struct State {
        var task: Task<Void, Never>?
        var isAsked = false
        var isEnding = false
    }

    private let state = Mutex(State())
    private let database: HubDatabase
    private let evaluator: DeploymentEvaluator
    private let now: @Sendable () -> Timestamp
    private let log: Logger
    /// Devices in one transaction: enough to share a flush, few enough that other writers wait but briefly.
    static let batch = 200

    init(
        database: HubDatabase, evaluator: DeploymentEvaluator, now: @escaping @Sendable () -> Timestamp, log: Logger
    ) {
        self.database = database
        self.evaluator = evaluator
        self.now = now
        self.log = log
    }

    /// There may be work.
    func wake() {
        state.withLock { state in
            state.isAsked = true
            guard state.task == nil, !state.isEnding else { return }
            state.task = Task { await run() }
        }
    }

    /// Returns when there is nothing left to do.
    func idle() async {
        while let task = state.withLock({ $0.task }) { await task.value }
    }

    func shutDown() async {
        let task = state.withLock { state in
            state.isEnding = true
            return state.task
        }
        await task?.value
    }

    private func run() async {
        while state.withLock({ state in
            guard state.isAsked, !state.isEnding else {
                state.task = nil
                return false
            }
            state.isAsked = false
            return true
        }) {
            do {
                while try await step() {}
            } catch {
                log.error("a configuration was not carried on", metadata: ["error": "\(error)"])
            }
        }
    }

    private func step() async throws -> Bool {
        guard !state.withLock({ $0.isEnding }) else { return false }
        let (evaluator, time) = (evaluator, now())
        return try await database.write { try evaluator.step(in: $0, at: time, limit: Self.batch) }
    }
}
