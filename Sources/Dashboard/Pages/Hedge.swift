/// The picture of the house: a hedge, of which every blade stands for a part of something.
enum Hedge {
    static let mark: HTML = """
        <svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path d="M4 27V15m6 12V9m6 18v-9m6 9V7m6 20V13"/></svg>
        """

    /// A row of blades, coloured by shares. Every part that is not empty has at least one blade.
    ///
    /// - Parameter label: what the picture says; nil for an ornament.
    static func row(of parts: [(kind: String, count: Int)], label: String?, blades: Int = 120) -> HTML {
        let total = parts.reduce(0) { $0 + $1.count }
        var kinds: [String] = []
        if total > 0 {
            var before = 0
            for part in parts where part.count > 0 {
                before += part.count
                // Where this part ends, rounded; at least one further than the part before.
                let end = max(kinds.count + 1, blades * before / total)
                kinds += Array(repeating: part.kind, count: end - kinds.count)
            }
        } else {
            kinds = Array(repeating: "quiet", count: blades)
        }
        let width = kinds.count * 6
        let lines = kinds.enumerated().map { place, kind -> HTML in
            let height = Self.height(place)
            return "<path class=\"\(kind)\" d=\"M\(place * 6 + 3) 40V\(40 - height)\"/>"
        }
        let description: HTML = label.map { " role=\"img\" aria-label=\"\($0)\"" } ?? " aria-hidden=\"true\""
        return """
            <svg class="hedge" viewBox="0 0 \(width) 42" preserveAspectRatio="none"\(description)>\(.joined(lines))</svg>
            """
    }

    /// Uneven and always the same.
    private static func height(_ place: Int) -> Int {
        let mixed = (UInt32(truncatingIfNeeded: place) &* 2_654_435_761) >> 16
        return 16 + Int(mixed % 11) + [0, 5, 9, 11, 8, 3][place % 6]
    }
}

/// A bar of shares, drawn so that it needs no style of its own.
enum ShareBar {
    static func html(_ parts: [(kind: String, count: Int)], of total: Int, label: String) -> HTML {
        var place = 0
        let whole = max(total, 1)
        let pieces = parts.filter { $0.count > 0 }.map { part -> HTML in
            let start = 1000 * place / whole
            place += part.count
            let end = min(1000, 1000 * place / whole)
            return
                "<rect class=\"\(part.kind)\" x=\"\(start)\" y=\"0\" width=\"\(max(end - start, 4))\" height=\"10\"/>"
        }
        return """
            <svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="\(label)">\
            <rect class="rest" width="1000" height="10"/>\(.joined(pieces))</svg>
            """
    }
}
