import JSONDocument
package import QueryLanguage
import SQLite

/// A condition in SQL over the registry's rows.
package struct TwinFilter: Sendable {
    let sql: String
    let values: [SQLiteValue]
    /// Whether it holds for those rows only for which the condition is true; otherwise for these and others.
    package let isExact: Bool

    /// Holds for every row.
    package static let none = TwinFilter("1", exact: true)

    /// What of the condition the columns can decide.
    package init(_ predicate: RowPredicate) { self = Self.filter(predicate) }

    private init(_ sql: String, _ values: [SQLiteValue] = [], exact: Bool) {
        self.sql = sql
        self.values = values
        isExact = exact
    }

    private static let unknown = TwinFilter("1", exact: false)

    var isTrivial: Bool { sql == "1" }
    /// Whether it holds for no row at all; never a part of another filter.
    var isEmpty: Bool { sql == "0" }

    private static let nothing = TwinFilter("0", exact: true)

    private static func filter(_ predicate: RowPredicate) -> TwinFilter {
        switch predicate {
        case .compare(let path, let comparison, let value):
            TwinOperand(path).map { compare($0, comparison, value) } ?? unknown
        case .compareValues(let left, let comparison, let right):
            comparison == .equal ? equal(TwinOperand(left), TwinOperand(right)) : unknown
        case .among(let path, let values):
            TwinOperand(path).map { operand in any(values.map { compare(operand, .equal, $0) }) } ?? unknown
        case .isDefined(let path): TwinOperand(path).flatMap { presence($0, "IS NOT NULL") } ?? unknown
        case .isMissing(let path): TwinOperand(path).flatMap { presence($0, "IS NULL") } ?? unknown
        case .begins(let path, let text):
            TwinOperand(path).map { begins($0, text) } ?? unknown
        case .contains(let path, let value):
            // A device has one parent at most.
            path.members == ["parentScopes"] && value.string != nil
                ? TwinFilter("i.parent = ?", [.text(value.string ?? "")], exact: true) : unknown
        case .all(let parts): all(parts.map(filter))
        case .any(let parts): any(parts.map(filter))
        case .unknown: unknown
        }
    }

    private static func all(_ parts: [TwinFilter]) -> TwinFilter {
        if parts.contains(where: \.isEmpty) { return nothing }
        let telling = parts.filter { !$0.isTrivial }
        guard !telling.isEmpty else { return TwinFilter("1", exact: parts.allSatisfy(\.isExact)) }
        return TwinFilter(
            telling.map { "(\($0.sql))" }.joined(separator: " AND "), telling.flatMap(\.values),
            exact: parts.allSatisfy(\.isExact))
    }

    private static func any(_ parts: [TwinFilter]) -> TwinFilter {
        let parts = parts.filter { !$0.isEmpty }
        guard !parts.isEmpty else { return nothing }
        if parts.contains(where: { $0.isTrivial && !$0.isExact }) { return unknown }
        return TwinFilter(
            parts.map { "(\($0.sql))" }.joined(separator: " OR "), parts.flatMap(\.values),
            exact: parts.allSatisfy(\.isExact))
    }

    private static func sign(_ comparison: Comparison) -> String {
        switch comparison {
        case .equal: "="
        case .notEqual: "<>"
        case .less: "<"
        case .lessOrEqual: "<="
        case .greater: ">"
        case .greaterOrEqual: ">="
        }
    }

    private static func compare(
        _ operand: TwinOperand, _ comparison: Comparison, _ value: JSONValue
    ) -> TwinFilter {
        let isRange = comparison != .equal && comparison != .notEqual
        switch (operand, value) {
        case (.flag(let sql), .bool(let flag)) where !isRange:
            let wanted = (comparison == .equal) == flag
            return TwinFilter("\(sql) = \(wanted ? 1 : 0)", exact: true)
        case (.text(let sql), .string(let text)) where !isRange:
            return TwinFilter("\(sql) \(sign(comparison)) ?", [.text(text)], exact: true)
        case (.number(let sql), .number(let number)):
            return TwinFilter("\(sql) \(sign(comparison)) ?", [.real(number.double)], exact: true)
        case (.json(let column, let path), .bool(let flag)) where !isRange:
            let wanted = (comparison == .equal) == flag
            return TwinFilter("json_type(\(column), ?) = '\(wanted)'", [.text(path)], exact: true)
        case (.json(let column, let path), .string(let text)):
            // The order of texts is not SQLite's, only their equality is.
            let isText = TwinFilter("json_type(\(column), ?) = 'text'", [.text(path)], exact: !isRange)
            guard !isRange else { return isText }
            return TwinFilter(
                "json_extract(\(column), ?) \(sign(comparison)) ? AND \(isText.sql)",
                [.text(path), .text(text), .text(path)], exact: true)
        case (.json(let column, let path), .number(let number)):
            return TwinFilter(
                "json_extract(\(column), ?) \(sign(comparison)) ? AND json_type(\(column), ?) IN ('integer', 'real')",
                [.text(path), .real(number.double), .text(path)], exact: true)
        case (.flag, .bool), (.text, .string), (.json, .bool): return unknown
        // Values of different kinds never compare.
        default: return nothing
        }
    }

    private static func equal(_ left: TwinOperand?, _ right: TwinOperand?) -> TwinFilter {
        switch (left, right) {
        case (.number(let number)?, .json(let column, let path)?), (.json(let column, let path)?, .number(let number)?):
            TwinFilter(
                "json_extract(\(column), ?) = \(number) AND json_type(\(column), ?) IN ('integer', 'real')",
                [.text(path), .text(path)], exact: true)
        case (.number(let left)?, .number(let right)?): TwinFilter("\(left) = \(right)", exact: true)
        default: unknown
        }
    }

    private static func presence(_ operand: TwinOperand, _ test: String) -> TwinFilter? {
        guard case .json(let column, let path) = operand else { return nil }
        return TwinFilter("json_type(\(column), ?) \(test)", [.text(path)], exact: true)
    }

    private static func begins(_ operand: TwinOperand, _ text: String) -> TwinFilter {
        let count = SQLiteValue.int(text.unicodeScalars.count)
        switch operand {
        case .text(let sql):
            // The first part lets an index find where to begin.
            return TwinFilter(
                "\(sql) >= ? AND substr(\(sql), 1, ?) = ?", [.text(text), count, .text(text)], exact: true)
        case .json(let column, let path):
            return TwinFilter(
                "substr(json_extract(\(column), ?), 1, ?) = ? AND json_type(\(column), ?) = 'text'",
                [.text(path), count, .text(text), .text(path)], exact: true)
        case .flag, .number: return nothing
        }
    }
}

/// Where a value of a twin lies in the row `i`. Those that live in memory, such as the connection state, are nowhere.
private enum TwinOperand {
    case text(String)
    case number(String)
    case flag(String)
    case json(column: String, path: String)

    init?(_ path: QueryPath) {
        switch path.members ?? [] {
        case ["deviceId"]: self = .text("i.device")
        case ["moduleId"]: self = .text("nullif(i.module, '')")
        case ["status"]: self = .text("iif(i.enabled, 'enabled', 'disabled')")
        case ["authenticationType"]: self = .text("i.authentication")
        case ["version"]: self = .number("i.twin_version")
        case ["capabilities", "iotEdge"]: self = .flag("iif(i.module = '', i.edge, NULL)")
        case ["properties", "desired", "$version"]: self = .number("i.desired_version")
        case ["properties", "reported", "$version"]: self = .number("i.reported_version")
        default:
            let columns: [([String], String)] = [
                (["tags"], "i.tags"), (["properties", "desired"], "i.desired"),
                (["properties", "reported"], "i.reported"), (["configurations"], "i.configurations"),
            ]
            for (prefix, column) in columns where path.hasPrefix(QueryPath(prefix.map { .member($0) })) {
                let rest = path.steps.dropFirst(prefix.count)
                guard !rest.isEmpty, rest.first != .member("$metadata"), rest.first != .member("$version"),
                    let text = Self.path(rest)
                else { return nil }
                self = .json(column: column, path: text)
                return
            }
            return nil
        }
    }

    /// Nil for a name that the path cannot quote.
    private static func path(_ steps: ArraySlice<QueryPath.Step>) -> String? {
        var text = "$"
        for step in steps {
            switch step {
            case .element(let index): text += "[\(index)]"
            case .member(let name):
                guard name.utf8.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") })
                else { return nil }
                text += ".\"\(name)\""
            }
        }
        return text
    }
}
