import DockerEngine
import Synchronization

/// The output of one build: its beginning dropped when it grows too long.
final class BuildLog: Sendable {
    private static let limit = 8 << 20
    private let state = Mutex((text: "", step: Int?.none))
    private let activity: @Sendable (String) -> Void

    /// - Parameter activity: is told what is being done, line by line.
    init(activity: @escaping @Sendable (String) -> Void = { _ in }) { self.activity = activity }

    func add(_ progress: ImageProgress) {
        if let output = progress.output {
            add(text: output)
        } else if let status = progress.status, progress.total == nil {
            add(text: "\(progress.id.map { "\($0): " } ?? "")\(status)\n")
        }
    }

    func add(line: String) { add(text: line + "\n") }

    private func add(text line: String) {
        state.withLock { state in
            if line.hasPrefix("Step ") || line.hasPrefix("STEP "),
                let step = Int(line.dropFirst(5).prefix { $0.isNumber })
            {
                state.step = step
            }
            state.text += line
            if state.text.utf8.count > Self.limit { state.text = String(state.text.suffix(Self.limit / 2)) }
        }
        activity(line)
    }

    var text: String { state.withLock { $0.text } }
    /// The number of the last step that began.
    var step: Int? { state.withLock { $0.step } }

    var lines: [Substring] { text.split(whereSeparator: \.isNewline) }

    /// The end of the output, each line indented.
    var lastLines: String { lines.suffix(12).map { "\n  | \($0)" }.joined() }
}
