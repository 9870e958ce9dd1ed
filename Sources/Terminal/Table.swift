/// Rows under headings, in columns as wide as their content; nothing is cut when the output is no terminal.
package struct Table: Sendable {
    private let headings: [String]
    private var rows: [[String]] = []

    /// A column that was cut shows at least so much.
    private static let narrowest = 8
    private static let gap = "  "

    package init(_ headings: String...) { self.headings = headings }

    package mutating func add(_ cells: String?...) { rows.append(cells.map { $0 ?? "-" }) }

    /// - Parameters:
    ///   - width: the columns of the terminal; the widest columns are cut until a line fits into it.
    ///   - isColoured: whether words that tell a state are coloured.
    package func lines(width: Int? = Terminal.width, isColoured: Bool = Style.isOn) -> [String] {
        let all = ([headings] + rows).map { $0.map(Self.oneLine) }
        var widths = headings.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        if let width { Self.fit(&widths, into: width) }
        return all.enumerated().map { row, cells in
            let isHeading = row == 0
            var line = ""
            for (column, cell) in cells.enumerated() {
                let shown = cell.count > widths[column] ? cell.prefix(max(0, widths[column] - 1)) + "…" : cell
                let isLast = column == cells.count - 1
                let padding = isLast ? "" : String(repeating: " ", count: widths[column] - shown.count) + Self.gap
                let style = isHeading ? Style.strong : Style(state: cell)
                line += (style?(shown, isOn: isColoured) ?? shown) + padding
            }
            return isColoured ? line : String(line.reversed().drop { $0 == " " }.reversed())
        }
    }

    package func print() {
        for line in lines() { Terminal.result(line) }
    }

    /// Takes from the widest column again and again; columns that are narrow already stay.
    private static func fit(_ widths: inout [Int], into limit: Int) {
        var excess = widths.reduce(0, +) + gap.count * max(0, widths.count - 1) - limit
        while excess > 0, let widest = widths.max(), widest > narrowest, let place = widths.lastIndex(of: widest) {
            let next = widths.filter { $0 < widest }.max() ?? narrowest
            let step = min(excess, max(1, widest - max(next, narrowest)))
            widths[place] -= step
            excess -= step
        }
    }

    /// Control characters would break the line, or move the cursor of whoever looks at it.
    private static func oneLine(_ cell: String) -> String {
        guard cell.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) else { return cell }
        return String(
            String.UnicodeScalarView(cell.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 }))
    }
}
