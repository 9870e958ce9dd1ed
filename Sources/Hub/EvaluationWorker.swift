import HubStore
import Logging
import Model

/// Carries a changed configuration to all devices it concerns, batch by batch; what is left to do is in the database.
final class EvaluationWorker: Sendable {
    init(
        database: HubDatabase, evaluator: DeploymentEvaluator, now: @escaping @Sendable () -> Timestamp, log: Logger
    ) {}

    /// There may be work.
    func wake() {}

    func shutDown() async {}
}
