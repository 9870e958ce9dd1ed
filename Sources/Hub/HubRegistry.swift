package import HubStore
package import Logging
package import Model
import SQLite
import Synchronization

/// The hub's knowledge of devices, modules, their twins, and the configurations that shape them.
///
/// Every change is one transaction: the rules run inside it, on the writer's thread, so that they see the state they
/// decide about. What others have to be told leaves after the commit, in order.
package final class HubRegistry: Sendable {
    package let database: HubDatabase
    package let activity: ActivityLog
    /// By name.
    package var policies: [String: AccessPolicy] { policyTable.all }
    let policyTable: PolicyTable
    let trust: CertificateTrust
    /// The people who may sign in.
    package let users: UserRegister
    /// Tells pages and other readers what has changed.
    package var changes: HubChanges { relay.changes }
    let now: @Sendable () -> Timestamp
    let makeKey: @Sendable () -> String
    let log: Logger
    let relay: ListenerRelay
    let deployments: DeploymentEvaluator
    let worker: EvaluationWorker
    /// What became of messages to devices, for those who sent them.
    package let feedback: FeedbackDesk
    package let messageLimits: MessageLimits

    /// - Parameters:
    ///   - now: the wall clock.
    ///   - makeKey: 32 random bytes in base64.
    package init(
        database: HubDatabase, users: UserRegister = UserRegister(folder: nil),
        now: @escaping @Sendable () -> Timestamp, makeKey: @escaping @Sendable () -> String, log: Logger,
        messageLimits: MessageLimits = MessageLimits()
    ) async throws {
        self.database = database
        self.users = users
        self.now = now
        self.makeKey = makeKey
        self.log = log
        relay = ListenerRelay()
        activity = ActivityLog(database: database, changes: relay.changes, log: log)
        try await database.write { try AccessPolicy.makeDefaults(in: $0, makeKey: makeKey) }
        trust = CertificateTrust(database: database)
        policyTable = PolicyTable(try await database.read { try AccessPolicy.all(in: $0) })
        deployments = DeploymentEvaluator(relay: relay, activity: activity, makeKey: makeKey)
        worker = EvaluationWorker(database: database, evaluator: deployments, now: now, log: log)
        self.messageLimits = messageLimits
        feedback = FeedbackDesk(database: database, now: now, log: log)
        worker.wake()
        feedback.noted()
    }

    /// Which events of the registry somebody asks for as messages.
    package var eventDemand: HubEventSource { relay.events }

    /// Names the one who is told of changes; call it before the first connection.
    package func tell(_ listener: any HubListener) { relay.set(listener) }

    /// Writes what is still in memory; the database stays open.
    package func shutDown() async {
        await worker.shutDown()
        feedback.shutDown()
        await activity.flush()
    }

    func write<Result: Sendable>(
        _ body: @escaping @Sendable (WriteTransaction) throws -> Result
    ) async throws(HubError) -> Result {
        do {
            return try await database.write(body)
        } catch {
            throw refusal(error)
        }
    }

    func read<Result: Sendable>(
        _ body: @escaping @Sendable (SQLiteDatabase) throws -> Result
    ) async throws(HubError) -> Result {
        do {
            return try await database.read(body)
        } catch {
            throw refusal(error)
        }
    }

    private func refusal(_ error: any Error) -> HubError { Self.refusal(error, log: log) }

    static func refusal(_ error: any Error, log: Logger) -> HubError {
        switch error {
        case let error as HubError: return error
        case let error as SQLiteError where error.isFull:
            log.error("the disk is full", metadata: ["error": "\(error)"])
            return HubError(.serviceUnavailable, "The hub's disk is full: nothing was changed.")
        case is HubDatabaseClosed: return HubError(.serviceUnavailable, "The hub is shutting down.")
        default:
            log.error("the registry failed", metadata: ["error": "\(error)"])
            return HubError(.serverError, "The hub's registry failed; its log says why.")
        }
    }
}

/// Passes changes on to the listener, which is known only after the registry is there.
final class ListenerRelay: Sendable {
    private struct Holder { weak var listener: (any HubListener)? }
    private let holder = Mutex(Holder())
    /// What somebody wants to be told as messages.
    let events = HubEventSource()
    let changes = HubChanges()

    func set(_ listener: any HubListener) { holder.withLock { $0.listener = listener } }
    var listener: (any HubListener)? { holder.withLock { $0.listener } }
}
