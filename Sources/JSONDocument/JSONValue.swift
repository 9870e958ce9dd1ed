/// A JSON value that keeps what a document said: the order of members and the digits of numbers.
///
/// Two objects are equal when they hold equal members, whatever their order; two numbers when they have the same value.
package enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

extension JSONValue {
    /// The object of this value; nil for every other kind.
    package var object: JSONObject? {
        if case .object(let object) = self { object } else { nil }
    }

    /// The elements of this value; nil for every other kind.
    package var array: [JSONValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    /// The text of this value; nil for every other kind (a number is no text).
    package var string: String? {
        if case .string(let text) = self { text } else { nil }
    }

    /// The Boolean of this value; nil for every other kind.
    package var bool: Bool? {
        if case .bool(let flag) = self { flag } else { nil }
    }

    /// The number of this value; nil for every other kind.
    package var number: JSONNumber? {
        if case .number(let number) = self { number } else { nil }
    }

    /// The number of this value when it is a whole number that `Int` can hold.
    package var int: Int? { number?.int }

    /// The number of this value as a double.
    package var double: Double? { number?.double }

    package var isNull: Bool { self == .null }

    /// The member of that name; nil when this is no object or has no such member.
    package subscript(key: String) -> JSONValue? { object?[key] }

    /// The element at that place; nil when this is no array or is too short.
    package subscript(index: Int) -> JSONValue? {
        guard let array, array.indices.contains(index) else { return nil }
        return array[index]
    }

    /// The value reached by following member names from here.
    package func at(_ path: some Sequence<String>) -> JSONValue? {
        var value = self
        for step in path {
            guard let next = value[step] else { return nil }
            value = next
        }
        return value
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(integerLiteral value: Int) { self = .number(JSONNumber(value)) }
    package init(floatLiteral value: Double) { self = .number(JSONNumber(value)) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONValue)...) { self = .object(JSONObject(elements)) }
}

extension JSONValue {
    package init(_ text: String) { self = .string(text) }
    package init(_ flag: Bool) { self = .bool(flag) }
    package init(_ number: Int) { self = .number(JSONNumber(number)) }
    package init(_ number: Double) { self = .number(JSONNumber(number)) }
    package init(_ elements: some Sequence<JSONValue>) { self = .array(Array(elements)) }
    package init(_ object: JSONObject) { self = .object(object) }

    /// The value, or `null` where there is none.
    package static func optional(_ text: String?) -> JSONValue { text.map(JSONValue.string) ?? .null }
}
