import JSONDocument
import SingleMachine
import Synchronization
import Terminal

/// Shows the steps of `up` on standard error and the messages on standard output. On a terminal the step at work shows
/// its progress in place; elsewhere each step is one plain line when it is done.
final class StepDisplay: Sendable {
    private struct State {
        var title = ""
        var sawMessages = false
        var number = 0
    }

    private let state = Mutex(State())
    private let isTerminal = Terminal.isErrorTerminal

    /// Whether it came so far that messages were shown.
    var sawMessages: Bool { state.withLock { $0.sawMessages } }

    func show(_ event: UpEvent) {
        state.withLock { state in
            switch event {
            case .began(let title):
                state.title = title
                rewrite("  … \(title)")
            case .progress(let line):
                rewrite("  … \(state.title): \(line)")
            case .finished(let outcome, let duration):
                rewrite("")
                Terminal.note(
                    "  \(isTerminal ? "\u{1B}[32m✓\u{1B}[0m" : "✓") \(state.title): \(outcome) (\(seconds(duration)))")
            case .failed(let duration):
                rewrite("")
                Terminal.note("  \(isTerminal ? "\u{1B}[31m✗\u{1B}[0m" : "✗") \(state.title) (\(seconds(duration)))")
            case .note(let text):
                rewrite("")
                Terminal.note("  " + text)
            case .message(let line):
                state.sawMessages = true
                rewrite("")
                Terminal.result(MonitorCommand.compact(line))
            case .nextSteps(let lines):
                rewrite("")
                Terminal.note("\n  To look further:")
                for line in lines { Terminal.note("    " + line) }
                Terminal.note("")
            }
        }
    }

    /// Replaces the line in place; nothing where nobody watches.
    private func rewrite(_ line: String) {
        guard isTerminal else { return }
        let width = max(20, (Terminal.width ?? 80) - 1)
        Terminal.progress("\r\u{1B}[K" + line.prefix(width))
    }

    private func seconds(_ duration: Duration) -> String {
        let tenths = (duration.components.seconds * 10) + duration.components.attoseconds / 100_000_000_000_000_000
        return "\(tenths / 10).\(tenths % 10) s"
    }
}
