/// A picture that is drawn again where it stood. Where nobody watches, each picture that differs is written below the
/// last one.
package struct LiveView {
    private var height = 0
    private var last: [String] = []
    private let isTerminal: Bool

    package init(isTerminal: Bool = Terminal.isOutputTerminal) { self.isTerminal = isTerminal }

    /// Shows the lines in place of those before; the same picture is not written again.
    package mutating func show(_ lines: [String]) {
        guard lines != last else { return }
        last = lines
        Terminal.output(Array(frame(of: lines).utf8))
    }

    /// What has to be written for it.
    package mutating func frame(of lines: [String]) -> String {
        guard isTerminal else { return lines.map { $0 + "\n" }.joined() }
        // A picture that is higher than the screen would scroll at each frame; then only its head is shown.
        let limit = max(4, (Terminal.height ?? 24) - 1)
        let shown = lines.count > limit ? lines.prefix(limit - 1) + ["… \(lines.count - limit + 1) more"] : lines[...]
        var text = height > 0 ? "\u{1B}[\(height)A" : ""
        for line in shown { text += "\u{1B}[2K" + line + "\n" }
        text += "\u{1B}[J"
        height = shown.count
        return text
    }
}
