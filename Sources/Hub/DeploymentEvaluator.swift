import HubStore
import Model

/// Decides which configurations shape a device, inside the transaction that changed something about it.
final class DeploymentEvaluator: Sendable {
    let relay: ListenerRelay
    let makeKey: @Sendable () -> String

    init(relay: ListenerRelay, makeKey: @escaping @Sendable () -> String) {
        self.relay = relay
        self.makeKey = makeKey
    }

    /// A twin has changed.
    ///
    /// - Returns: whether twins of the device were changed in turn.
    func twinChanged(
        _ record: IdentityRecord, _ change: TwinChange, in transaction: WriteTransaction, at time: Timestamp
    ) throws -> Bool {
        false
    }

    /// An identity was made or changed.
    func identityChanged(_ key: IdentityKey, in transaction: WriteTransaction, at time: Timestamp) throws {
    }

    func identityRemoved(_ key: IdentityKey, in transaction: WriteTransaction, at time: Timestamp) throws {
    }
}
