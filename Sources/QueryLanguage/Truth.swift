/// The result of a condition. Only `true` selects; `undefined` comes of what is missing or cannot be compared.
package enum Truth: String, Hashable, Sendable {
    case `true`
    case `false`
    case undefined

    package init(_ flag: Bool) { self = flag ? .true : .false }

    package var isTrue: Bool { self == .true }
}
