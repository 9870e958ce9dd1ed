/// A value of a TOML document (version 1.0).
package indirect enum TOMLValue: Sendable, Hashable {
    case string(String)
    case integer(Int64)
    case double(Double)
    case bool(Bool)
    /// A date, a time or both, in the text of the document.
    case date(String)
    case array([TOMLValue])
    case table(TOMLTable)
}

/// A table: names with values, in the order of the document.
package struct TOMLTable: Sendable, Hashable {
    package fileprivate(set) var keys: [String] = []
    private var values: [String: TOMLValue] = [:]

    package init() {}

    package subscript(key: String) -> TOMLValue? {
        get { values[key] }
        set {
            if newValue == nil {
                keys.removeAll { $0 == key }
            } else if values[key] == nil {
                keys.append(key)
            }
            values[key] = newValue
        }
    }

    /// The value reached by following names through tables.
    package func at(_ path: String...) -> TOMLValue? {
        var value: TOMLValue = .table(self)
        for step in path {
            guard case .table(let table) = value, let next = table[step] else { return nil }
            value = next
        }
        return value
    }
}

extension TOMLValue {
    package var string: String? { if case .string(let text) = self { text } else { nil } }
    package var integer: Int64? { if case .integer(let number) = self { number } else { nil } }
    package var bool: Bool? { if case .bool(let flag) = self { flag } else { nil } }
    package var array: [TOMLValue]? { if case .array(let elements) = self { elements } else { nil } }
    package var table: TOMLTable? { if case .table(let table) = self { table } else { nil } }
}

/// What a text breaks of TOML, and where.
package struct TOMLSyntaxError: Error, Sendable, Hashable, CustomStringConvertible {
    package let reason: String
    /// From 1.
    package let line: Int
    /// From 1, in characters.
    package let column: Int

    package var description: String { "line \(line), column \(column): \(reason)" }
}
