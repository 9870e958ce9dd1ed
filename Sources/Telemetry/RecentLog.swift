import Synchronization

/// What this process has logged lately, kept in memory within bounds, for when nobody can look at its standard error.
package final class RecentLog: Sendable {
    private let lines = Mutex<[String]>([])
    private let limit: Int

    /// - Parameter limit: lines.
    package init(limit: Int = 2000) { self.limit = limit }

    package func add(_ line: String) {
        lines.withLock { lines in
            if lines.count >= limit { lines.removeFirst(limit / 4) }
            lines.append(line.utf8.count <= 4096 ? line : line.prefix(1024) + "…\n")
        }
    }

    package var text: String { lines.withLock { $0.joined() } }
}
