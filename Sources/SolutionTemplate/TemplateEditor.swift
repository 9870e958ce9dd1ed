package import JSONDocument

/// Changes a template on disk without expanding it: its variables stay variables.
///
/// The text may hold variables where JSON wants a value (`"createOptions": $OPTIONS`); while it is edited they stand as
/// texts, and come back as they were. Comments are lost.
package struct TemplateEditor: Sendable {
    private var json: JSONValue
    private let variables: [String]
    private let file: String

    private static func mark(_ index: Int) -> String { "\u{1}variable \(index)\u{1}" }

    /// - Throws: `malformed`, with the place.
    package init(_ source: [UInt8], file: String) throws(SolutionError) {
        var text: [UInt8] = []
        var variables: [String] = []
        var place = 0
        var inText = false
        while place < source.count {
            let byte = source[place]
            if inText {
                if byte == UInt8(ascii: "\\"), place + 1 < source.count {
                    text.append(byte)
                    place += 1
                } else if byte == UInt8(ascii: "\"") {
                    inText = false
                }
            } else if byte == UInt8(ascii: "\"") {
                inText = true
            } else if byte == UInt8(ascii: "$"), let end = Self.end(of: source, from: place) {
                text.append(contentsOf: JSONValue.string(Self.mark(variables.count)).bytes())
                variables.append(String(decoding: source[place..<end], as: UTF8.self))
                place = end
                continue
            }
            text.append(source[place])
            place += 1
        }
        do {
            json = try JSONValue(parsing: text, options: JSONReadingOptions(allowsComments: true))
        } catch {
            throw SolutionError(
                .malformed, error.reason, file: file, place: SourcePlace(line: error.line, column: error.column))
        }
        self.variables = variables
        self.file = file
    }

    private static func end(of source: [UInt8], from dollar: Int) -> Int? {
        var end = dollar + 1
        guard end < source.count else { return nil }
        if source[end] == UInt8(ascii: "{") {
            return source[end...].firstIndex(of: UInt8(ascii: "}")).map { $0 + 1 }
        }
        while end < source.count, source[end] == UInt8(ascii: "_") || Character(UnicodeScalar(source[end])).isASCIIWord
        {
            end += 1
        }
        return end > dollar + 1 ? end : nil
    }

    /// Adds a module that starts with the device, and a route for what it sends.
    ///
    /// - Parameter image: a placeholder such as `${MODULES.name}`.
    /// - Throws: `badStructure` when the template lacks the place for it.
    package mutating func addModule(
        _ name: String, image: String, createOptions: JSONValue
    ) throws(SolutionError) {
        let module: JSONValue = [
            "version": "1.0", "type": "docker", "status": "running", "restartPolicy": "always",
            "settings": ["image": .string(image), "createOptions": createOptions],
        ]
        let route = "FROM /messages/modules/\(name)/outputs/* INTO $upstream"
        let root =
            json["content"]?["modulesContent"] != nil && json["modulesContent"] == nil
            ? ["content", "modulesContent"] : [json["moduleContent"] != nil ? "moduleContent" : "modulesContent"]
        try put(module, root + ["$edgeAgent"], ["modules", name])
        try put(.string(route), root + ["$edgeHub"], ["routes", "\(name)ToIoTHub"])
    }

    private mutating func put(_ value: JSONValue, _ owner: [String], _ path: [String]) throws(SolutionError) {
        guard json.at(owner)?.object != nil else {
            throw SolutionError(
                .badStructure, "missing key \(owner.map { "\"\($0)\"" }.joined(separator: " -> "))", file: file)
        }
        let desired = "properties.desired"
        let isWhole = json.at(owner + [desired])?.object != nil
        let target = owner + (isWhole ? [desired] + path : [([desired] + path).joined(separator: ".")])
        json = Self.putting(value, target[...], in: json)
    }

    private static func putting(_ value: JSONValue, _ path: ArraySlice<String>, in json: JSONValue) -> JSONValue {
        guard let first = path.first else { return value }
        var object = json.object ?? JSONObject()
        object[first] = putting(value, path.dropFirst(), in: object[first] ?? .object([:]))
        return .object(object)
    }

    /// The template's new text, indented by 2.
    package var text: String {
        var text = json.text(.pretty)
        for (index, variable) in variables.enumerated() {
            text = text.replacing(JSONValue.string(Self.mark(index)).text(), with: variable)
        }
        return text + "\n"
    }
}

extension Character {
    fileprivate var isASCIIWord: Bool { isASCII && (isLetter || isNumber) }
}
