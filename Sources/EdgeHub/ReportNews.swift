import EdgeStore
package import JSONDocument
package import Model
import Synchronization

/// Tells whoever wants to know that a module or device has reported properties.
final class ReportNews: Sendable {
    private struct State {
        var serial = 0
        var followers: [Int: AsyncStream<IdentityKey>.Continuation] = [:]
    }

    private let state = Mutex(State())

    func tell(_ identity: IdentityKey) {
        let followers = state.withLock { Array($0.followers.values) }
        for follower in followers { follower.yield(identity) }
    }

    /// A follower that does not keep up misses the oldest; what it then asks for is the newest state anyway.
    func follow() -> AsyncStream<IdentityKey> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: IdentityKey.self, bufferingPolicy: .bufferingNewest(4096))
        let serial = state.withLock { state in
            state.serial += 1
            state.followers[state.serial] = continuation
            return state.serial
        }
        continuation.onTermination = { [weak self] _ in
            guard let self else { return }
            self.state.withLock { $0.followers[serial] = nil }
        }
        return stream
    }
}

extension EdgeHub {
    /// The identities that report properties, as they do.
    package func reportingIdentities() -> AsyncStream<IdentityKey> { reportNews.follow() }

    /// The reported properties of a module of this device as they are known here.
    package func reportedProperties(of identity: IdentityKey) async -> JSONObject {
        let twin = await client(of: identity).loadedTwin()
        return twin.pending.map { TwinPatch.applied($0, to: twin.reported) } ?? twin.reported
    }
}
