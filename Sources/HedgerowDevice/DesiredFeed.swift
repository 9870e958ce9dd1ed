import DeviceClient
import JSONDocument
import NIOCore
import Synchronization

/// The desired properties as far as they are known, and those who wait for changes.
final class DesiredFeed: Sendable {
    private struct State {
        var current: JSONValue?
        var readers: [Int: AsyncStream<JSONValue>.Continuation] = [:]
        var nextReader = 0
        var hasEnded = false
    }

    private let state = Mutex(State())

    /// The present document, if there is one, and each that follows; a slow reader gets the newest.
    func documents() -> AsyncStream<JSONValue> {
        let (stream, continuation) = AsyncStream.makeStream(of: JSONValue.self, bufferingPolicy: .bufferingNewest(1))
        let reader = state.withLock { state -> Int? in
            if let current = state.current { continuation.yield(current) }
            guard !state.hasEnded else { return nil }
            defer { state.nextReader += 1 }
            state.readers[state.nextReader] = continuation
            return state.nextReader
        }
        guard let reader else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.readers[reader] = nil } }
        return stream
    }

    func set(_ document: JSONValue) {
        state.withLock { state in
            // What was read may be older than a patch that came meanwhile.
            if let known = state.current?["$version"]?.int, let new = document["$version"]?.int, new < known { return }
            guard document != state.current else { return }
            state.current = document
            for reader in state.readers.values { reader.yield(document) }
        }
    }

    /// - Returns: whether the patch fits what is known; if not, the twin has to be read again.
    func merge(_ change: DesiredChange) -> Bool {
        guard let patch = try? JSONValue(parsing: change.patch.readableBytesView) else { return false }
        return state.withLock { state in
            guard let current = state.current, let known = current["$version"]?.int else { return false }
            guard let version = change.version ?? patch["$version"]?.int, version <= known + 1 else { return false }
            // It was in the twin already when that was read.
            guard version == known + 1 else { return true }
            var merged = current.merged(with: patch).object ?? [:]
            merged["$version"] = JSONValue(version)
            state.current = .object(merged)
            for reader in state.readers.values { reader.yield(.object(merged)) }
            return true
        }
    }

    func finish() {
        let readers = state.withLock { state in
            state.hasEnded = true
            defer { state.readers = [:] }
            return Array(state.readers.values)
        }
        for reader in readers { reader.finish() }
    }
}
