/// Rows under headings, in columns as wide as their content; nothing is cut when the output is no terminal.
package struct Table: Sendable {
    private let headings: [String]
    private var rows: [[String]] = []

    package init(_ headings: String...) { self.headings = headings }

    package mutating func add(_ cells: String?...) { rows.append(cells.map { $0 ?? "-" }) }

    /// - Parameter width: the columns of the terminal; the last column is cut to fit it.
    package func lines(width: Int? = Terminal.width) -> [String] {
        let all = [headings] + rows
        let widths = headings.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { cells in
            let line = zip(cells, widths).map { cell, width in
                cell + String(repeating: " ", count: max(0, width - cell.count))
            }.joined(separator: "  ")
            let trimmed = String(line.reversed().drop { $0 == " " }.reversed())
            guard let width, trimmed.count > width, width > 1 else { return trimmed }
            return trimmed.prefix(width - 1) + "…"
        }
    }

    package func print() {
        for line in lines() { Terminal.result(line) }
    }
}
