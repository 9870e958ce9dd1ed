package import JSONDocument

/// The rows of an aggregating query while its source is read: one row for each group.
package struct Aggregation: Sendable {
    private let query: Query
    private var places: [[JSONValue?]: Int] = [:]
    private var groups: [Group] = []

    private struct Group: Sendable {
        let key: [JSONValue?]
        var totals: [Total]
    }

    private struct Total: Sendable {
        var rows = 0
        var numbers = 0
        var sum = 0.0
        var least = Double.infinity
        var greatest = -Double.infinity
    }

    package init(_ query: Query) {
        self.query = query
        if query.grouping.isEmpty { groups = [empty(key: [])] }
    }

    private func empty(key: [JSONValue?]) -> Group {
        Group(key: key, totals: Array(repeating: Total(), count: query.items.count))
    }

    /// Takes a row that the query keeps.
    package mutating func add(_ row: some QueryRow) {
        let place = place(of: query.grouping.map { row.value(at: $0) })
        for (index, item) in query.items.enumerated() {
            guard case .aggregate(_, let path) = item.content else { continue }
            guard let path else {
                groups[place].totals[index].rows += 1
                continue
            }
            guard let value = row.value(at: path) else { continue }
            groups[place].totals[index].rows += 1
            guard let number = value.double else { continue }
            groups[place].totals[index].numbers += 1
            groups[place].totals[index].sum += number
            groups[place].totals[index].least = min(groups[place].totals[index].least, number)
            groups[place].totals[index].greatest = max(groups[place].totals[index].greatest, number)
        }
    }

    private mutating func place(of key: [JSONValue?]) -> Int {
        if query.grouping.isEmpty { return 0 }
        if let place = places[key] { return place }
        places[key] = groups.count
        groups.append(empty(key: key))
        return groups.count - 1
    }

    /// The rows of the answer so far, groups in the order in which they were met.
    package var rows: [JSONValue] { groups.prefix(query.top ?? .max).map(row) }

    private func row(of group: Group) -> JSONValue {
        var members = JSONObject()
        for (item, total) in zip(query.items, group.totals) {
            switch item.content {
            case .path(let path):
                guard let place = query.grouping.firstIndex(of: path), let value = group.key[place] else { continue }
                members[item.name] = value
            case .aggregate(let aggregate, _):
                if let value = value(of: aggregate, total) { members[item.name] = value }
            }
        }
        return .object(members)
    }

    /// Nil where no number was met, except that nothing adds up to 0.
    private func value(of aggregate: Query.Aggregate, _ total: Total) -> JSONValue? {
        switch aggregate {
        case .count: JSONValue(total.rows)
        case .sum: JSONValue(total.sum)
        case _ where total.numbers == 0: nil
        case .avg: JSONValue(total.sum / Double(total.numbers))
        case .min: JSONValue(total.least)
        case .max: JSONValue(total.greatest)
        }
    }
}
