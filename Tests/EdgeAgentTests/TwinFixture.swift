import EdgeAgent
import JSONDocument
import ModuleReconciling
import Synchronization

/// A hub that is a value in this process: it holds a twin, and tells everyone who waits when it changes.
final class TwinFixture: DesiredSource {
    private struct Waiter {
        let condition: @Sendable (JSONValue) -> Bool
        let serial: Int
        let continuation: CheckedContinuation<JSONValue, Never>
    }

    private struct State {
        var desired: JSONValue = ["$version": 1]
        var reported: JSONValue = [:]
        var patches: [JSONValue] = []
        var isOnline = true
        var signals: AsyncStream<DesiredSignal>.Continuation?
        var waiting: [Waiter] = []
        var serial = 0
    }

    struct Offline: Error {}

    private let state = Mutex(State())

    func follow(_ deliver: @escaping @Sendable (DesiredSignal) async -> Void) async {
        let (stream, continuation) = AsyncStream.makeStream(of: DesiredSignal.self)
        state.withLock {
            $0.signals = continuation
            if $0.isOnline { continuation.yield(.connected(desired: $0.desired, reported: $0.reported)) }
        }
        for await signal in stream { await deliver(signal) }
    }

    func twin() async throws -> (desired: JSONValue, reported: JSONValue) {
        try state.withLock {
            guard $0.isOnline else { throw Offline() }
            return ($0.desired, $0.reported)
        }
    }

    func report(_ patch: JSONValue) async throws {
        try state.withLock { state in
            guard state.isOnline else { throw Offline() }
            state.patches.append(patch)
            state.reported = state.reported.merged(with: patch)
            let reported = state.reported
            state.waiting.removeAll { waiter in
                guard waiter.condition(reported) else { return false }
                waiter.continuation.resume(returning: reported)
                return true
            }
        }
    }

    func setDesired(_ desired: JSONValue) {
        state.withLock {
            var members = desired.object ?? [:]
            members["$version"] = JSONValue(($0.desired["$version"]?.int ?? 0) + 1)
            $0.desired = .object(members)
            if $0.isOnline { $0.signals?.yield(.desiredChanged) }
        }
    }

    func setOnline(_ isOnline: Bool) {
        state.withLock {
            $0.isOnline = isOnline
            $0.signals?.yield(isOnline ? .connected(desired: $0.desired, reported: $0.reported) : .disconnected)
        }
    }

    var version: Int { state.withLock { $0.desired["$version"]?.int ?? 0 } }
    var reported: JSONValue { state.withLock { $0.reported } }
    var patches: [JSONValue] { state.withLock { $0.patches } }

    /// Waits until the reported properties are as wanted; when the test's time is over, gives them as they are.
    @discardableResult
    func reported(where condition: @escaping @Sendable (JSONValue) -> Bool) async -> JSONValue {
        let serial = state.withLock { state in
            state.serial += 1
            return state.serial
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                state.withLock {
                    if condition($0.reported) || Task.isCancelled {
                        continuation.resume(returning: $0.reported)
                    } else {
                        $0.waiting.append(Waiter(condition: condition, serial: serial, continuation: continuation))
                    }
                }
            }
        } onCancel: {
            state.withLock { state in
                guard let place = state.waiting.firstIndex(where: { $0.serial == serial }) else { return }
                state.waiting.remove(at: place).continuation.resume(returning: state.reported)
            }
        }
    }

    /// Waits until the newest desired properties have been dealt with.
    @discardableResult
    func settled(code: Int = 200) async -> JSONValue {
        let version = version
        return await reported {
            $0["lastDesiredVersion"]?.int == version && $0.at(["lastDesiredStatus", "code"])?.int == code
        }
    }

    @discardableResult
    func status(of module: String, _ status: String, restarts: Int? = nil) async -> JSONValue {
        await reported {
            $0.at(["modules", module, "runtimeStatus"])?.string == status
                && (restarts == nil || $0.at(["modules", module, "restartCount"])?.int == restarts)
        }
    }
}

extension TwinFixture {
    /// Waits until a module has ended at that time, after so many restarts, and waits for the next.
    @discardableResult
    func ended(_ module: String, restarts: Int, at time: WallTime) async -> JSONValue {
        await reported {
            $0.at(["modules", module, "restartCount"])?.int == restarts
                && $0.at(["modules", module, "lastExitTimeUtc"])?.string == time.description
        }
    }
}

/// Identities out of nothing.
final class IdentityFixture: ModuleIdentities {
    private let removed = Mutex<[String]>([])

    var allRemoved: [String] { removed.withLock { $0 } }

    func ensure(_ modules: [String]) async throws -> [String: ModuleIdentity] {
        Dictionary(uniqueKeysWithValues: modules.map { ($0, ModuleIdentity(generationID: "g-\($0)")) })
    }

    func remove(_ modules: [String]) async throws { removed.withLock { $0 += modules } }
}
