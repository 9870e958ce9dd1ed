import DockerEngine
import Synchronization

/// How far a pull has come.
final class PullProgress: Sendable {
    private struct State {
        var moved = false
        var hasCome = false
        var layers: [String: (current: Int, total: Int)] = [:]
        var told = 0
    }

    private let state = Mutex(State())
    private let tell: @Sendable (String) -> Void

    /// - Parameter tell: is told in words, after each fifth of what has to come.
    init(_ tell: @escaping @Sendable (String) -> Void) { self.tell = tell }

    /// Whether anything came at all.
    var hasCome: Bool { state.withLock(\.hasCome) }

    func note(_ progress: ImageProgress) {
        let words: String? = state.withLock { state in
            state.moved = true
            guard let id = progress.id, progress.status == "Downloading", let current = progress.current,
                let total = progress.total, total > 0, current >= 0, state.layers.count < 1000
            else { return nil }
            state.hasCome = true
            state.layers[id] = (min(current, total), total)
            let (have, all) = state.layers.values.reduce((0, 0)) { ($0.0 &+ $1.current, $0.1 &+ $1.total) }
            let part = all > 0 ? Int(Double(have) / Double(all) * 5) : 0
            guard part != state.told else { return nil }
            state.told = part
            return "\(have / 1_000_000) of \(all / 1_000_000) MB"
        }
        if let words { tell(words) }
    }

    /// Whether it has moved since it was last asked.
    func takeNote() -> Bool {
        state.withLock { state in
            defer { state.moved = false }
            return state.moved
        }
    }
}
