package import NIOCore

/// The properties of a message: what a property bag says, taken apart.
package struct MessageProperties: Sendable, Hashable {
    package struct Property: Sendable, Hashable {
        package var name: String
        /// Nil for a name without an equals sign, which SDKs read as null.
        package var value: String?

        package init(name: String, value: String?) {
            self.name = name
            self.value = value
        }
    }

    /// System properties by their meaning; those with a name that is not known are dropped.
    package var system: [SystemProperty: String]
    /// In their order; names compare without case and occur once.
    package private(set) var application: [Property]

    package init(system: [SystemProperty: String] = [:], application: [Property] = []) {
        self.system = system
        self.application = []
        for property in application { set(property.name, to: property.value) }
    }

    /// Reads a bag. There is no wrong one: an escape that is malformed stands for itself.
    package init(bag: ByteBuffer) {
        self.init()
        var bytes = bag.readableBytesView[...]
        // Written by SDKs that see the bag as a query or a path of its own.
        while let first = bytes.first, first == UInt8(ascii: "?") || first == UInt8(ascii: "/") { bytes.removeFirst() }
        if bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
        for pair in bytes.split(separator: UInt8(ascii: "&")) {
            let equals = pair.firstIndex(of: UInt8(ascii: "="))
            let name = PercentCoding.decoded(pair[..<(equals ?? pair.endIndex)])
            let value = equals.map { PercentCoding.decoded(pair[pair.index(after: $0)...]) }
            if let known = SystemProperty(rawValue: name) {
                system[known] = value ?? ""
            } else if !name.hasPrefix("$."), !name.isEmpty {
                set(name, to: value)
            }
        }
    }

    /// The value of an application property; nil when there is none of that name.
    package subscript(name: String) -> String?? {
        application.first { $0.name.isSameWithoutCase(as: name) }.map(\.value)
    }

    /// Sets an application property, in place of one whose name differs in case only.
    package mutating func set(_ name: String, to value: String?) {
        if let place = application.firstIndex(where: { $0.name.isSameWithoutCase(as: name) }) {
            application[place].value = value
        } else {
            application.append(Property(name: name, value: value))
        }
    }

    package mutating func remove(_ name: String) {
        application.removeAll { $0.name.isSameWithoutCase(as: name) }
    }

    /// The bag: system properties first, everything encoded that SDKs would split at.
    package func bag() -> ByteBuffer {
        var result: [UInt8] = []
        for property in SystemProperty.allCases {
            guard let value = system[property] else { continue }
            if !result.isEmpty { result.append(UInt8(ascii: "&")) }
            // SDKs look for `$.mid` as well as `%24.mid`; the first is what they send themselves.
            result.append(contentsOf: property.rawValue.utf8)
            result.append(UInt8(ascii: "="))
            PercentCoding.append(value.utf8, to: &result)
        }
        for property in application {
            if !result.isEmpty { result.append(UInt8(ascii: "&")) }
            PercentCoding.append(property.name.utf8, to: &result)
            guard let value = property.value else { continue }
            result.append(UInt8(ascii: "="))
            PercentCoding.append(value.utf8, to: &result)
        }
        return ByteBuffer(bytes: result)
    }

    /// What the properties add to the size of a message (hub.md, section 10.1), in bytes.
    package var size: Int {
        system.values.reduce(0) { $0 + $1.utf8.count }
            + application.reduce(0) { $0 + $1.name.utf8.count + ($1.value?.utf8.count ?? 0) }
    }
}

extension String {
    fileprivate func isSameWithoutCase(as other: String) -> Bool {
        self == other || (utf8.count == other.utf8.count && lowercased() == other.lowercased())
    }
}
