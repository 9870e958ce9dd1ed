import SolutionTool
import Synchronization
import Terminal

/// Shows what the solution tool does. On a terminal each image at work has a line that is rewritten in place; elsewhere
/// there are plain lines only.
final class SolutionDisplay: Sendable {
    private struct State {
        var active: [(subject: String, text: String)] = []
        /// How many lines stand below the last plain one.
        var shown = 0
    }

    private let state = Mutex(State())
    private let isTerminal = Terminal.isErrorTerminal

    func show(_ message: SolutionMessage) {
        state.withLock { state in
            switch message {
            case .progress(let text): write(text, &state)
            case .warning(let text):
                write(isTerminal ? "\u{1B}[33mWARNING:\u{1B}[0m \(text)" : "WARNING: \(text)", &state)
            case .activity(let subject, let text):
                guard isTerminal else { return }
                let place = state.active.firstIndex { $0.subject == subject }
                switch (place, text) {
                case (let place?, let text?): state.active[place].text = text
                case (nil, let text?): state.active.append((subject, text))
                case (let place?, nil): state.active.remove(at: place)
                case (nil, nil): return
                }
                clear(&state)
                draw(&state)
            }
        }
    }

    private func write(_ line: String, _ state: inout State) {
        clear(&state)
        Terminal.note(line)
        draw(&state)
    }

    private func clear(_ state: inout State) {
        guard state.shown > 0 else { return }
        Terminal.progress(String(repeating: "\u{1B}[1A\u{1B}[2K", count: state.shown))
        state.shown = 0
    }

    private func draw(_ state: inout State) {
        guard isTerminal, !state.active.isEmpty else { return }
        let width = max(20, (Terminal.width ?? 80) - 1)
        for (subject, text) in state.active {
            let plain = text.filter { !$0.isNewline && $0 != "\u{1B}" && $0 != "\t" }
            Terminal.progress("  … \(subject): \(plain)".prefix(width) + "\n")
        }
        state.shown = state.active.count
    }
}
