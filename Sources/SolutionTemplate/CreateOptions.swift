import JSONDocument

/// `createOptions` as a twin can hold it: text in pieces of at most 512 characters.
enum CreateOptions {
    static let pieceLength = 512
    static let keys = ["createOptions"] + (1...7).map { "createOptions0\($0)" }
    static let longest = pieceLength * keys.count

    /// The pieces, in order; none for an empty text, which stays as it is. Nil when there would be too many.
    static func pieces(of options: JSONValue) -> [String]? {
        let scalars = Array(text(of: options).unicodeScalars)
        guard scalars.count <= longest else { return nil }
        return stride(from: 0, to: scalars.count, by: pieceLength).map { start in
            var piece = String.UnicodeScalarView()
            piece.append(contentsOf: scalars[start..<min(start + pieceLength, scalars.count)])
            return String(piece)
        }
    }

    /// A text is kept as it is; everything else becomes JSON without blanks, in ASCII.
    static func text(of options: JSONValue) -> String {
        if case .string(let text) = options { return text }
        return plainNumbers(options).text(JSONWritingOptions(asciiOnly: true))
    }

    /// Fractions in their shortest form, as existing manifests have them; whole numbers keep all their digits.
    private static func plainNumbers(_ value: JSONValue) -> JSONValue {
        switch value {
        case .number(let number): (try? JSONValue(parsing: plainText(of: number))) ?? value
        case .array(let elements): .array(elements.map(plainNumbers))
        case .object(let object): .object(JSONObject(object.map { ($0.key, plainNumbers($0.value)) }))
        default: value
        }
    }

    /// A number as existing manifests and tags have it.
    static func plainText(of number: JSONNumber) -> String {
        if number.isInteger { return number.text == "-0" ? "0" : number.text }
        return number.double.isFinite ? "\(number.double)" : number.text
    }
}
