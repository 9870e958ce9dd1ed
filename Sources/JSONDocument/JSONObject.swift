/// The members of a JSON object in the order of the document; a name occurs once.
package struct JSONObject: Sendable {
    package private(set) var keys: [String]
    package private(set) var values: [JSONValue]
    /// Places by name, kept only for objects large enough that a search would show.
    private var places: [String: Int]?

    private static let searchLimit = 12

    package init() {
        keys = []
        values = []
    }

    /// A later member of the same name takes the place of the earlier one.
    package init(_ members: some Sequence<(String, JSONValue)>) {
        self.init()
        for (key, value) in members { self[key] = value }
    }

    package var count: Int { keys.count }
    package var isEmpty: Bool { keys.isEmpty }

    private func place(of key: String) -> Int? {
        if let places { return places[key] }
        return keys.firstIndex(of: key)
    }

    /// Reads, replaces in place, appends, or (with nil) removes a member.
    package subscript(key: String) -> JSONValue? {
        get { place(of: key).map { values[$0] } }
        set {
            switch (place(of: key), newValue) {
            case (let place?, let value?):
                values[place] = value
            case (nil, let value?):
                keys.append(key)
                values.append(value)
                if places != nil {
                    places?[key] = keys.count - 1
                } else if keys.count > Self.searchLimit {
                    reindex()
                }
            case (let place?, nil):
                keys.remove(at: place)
                values.remove(at: place)
                if places != nil { reindex() }
            case (nil, nil):
                break
            }
        }
        _modify {
            // Moves the member out while it is changed, so that a nested change copies nothing.
            if let place = place(of: key) {
                var value: JSONValue? = values[place]
                values[place] = .null
                defer {
                    if let value {
                        values[place] = value
                    } else {
                        self[key] = nil
                    }
                }
                yield &value
            } else {
                var value: JSONValue?
                defer { if value != nil { self[key] = value } }
                yield &value
            }
        }
    }

    private mutating func reindex() {
        guard keys.count > Self.searchLimit else {
            places = nil
            return
        }
        var index = [String: Int](minimumCapacity: keys.count)
        for (place, key) in keys.enumerated() { index[key] = place }
        places = index
    }

    /// Removes every member for which `condition` is true and keeps the order of the others.
    package mutating func removeAll(where condition: (String, JSONValue) -> Bool) {
        let kept = zip(keys, values).filter { !condition($0, $1) }
        self = JSONObject(kept)
    }
}

extension JSONObject: Sequence {
    package typealias Element = (key: String, value: JSONValue)

    package func makeIterator() -> AnyIterator<Element> {
        var place = 0
        let (keys, values) = (keys, values)
        return AnyIterator {
            guard place < keys.count else { return nil }
            defer { place += 1 }
            return (keys[place], values[place])
        }
    }
}

extension JSONObject: Hashable {
    package static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count && left.allSatisfy { right[$0.key] == $0.value }
    }

    package func hash(into hasher: inout Hasher) {
        var sum = 0
        for (key, value) in self {
            var member = Hasher()
            member.combine(key)
            member.combine(value)
            sum &+= member.finalize()
        }
        hasher.combine(sum)
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral elements: (String, JSONValue)...) { self.init(elements) }
}
