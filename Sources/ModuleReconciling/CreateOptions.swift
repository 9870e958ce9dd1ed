import JSONDocument

/// The engine's create options, which a manifest carries as text in pieces (edge-runtime.md, A.3).
package enum CreateOptions {
    /// What a twin once allowed for one text.
    package static let pieceLength = 512

    /// Joins `createOptions`, `createOptions01` … of a module's settings and reads them.
    static func read(from settings: JSONObject, at path: String) throws(ManifestError) -> JSONObject {
        var pieces: [(number: Int?, value: JSONValue)] = []
        for (key, value) in settings {
            let lowered = key.lowercased()
            guard lowered.hasPrefix("createoptions") else { continue }
            let digits = lowered.dropFirst("createoptions".count)
            guard digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { continue }
            pieces.append((digits.isEmpty ? nil : Int(digits), value))
        }
        guard !pieces.isEmpty else { return [:] }
        pieces.sort { ($0.number ?? 0) < ($1.number ?? 0) }
        guard pieces[0].number == nil else {
            throw ManifestError(.malformed, "\(path).createOptions is missing, though there are further pieces of it")
        }
        if pieces.count == 1 {
            switch pieces[0].value {
            case .object(let object): return normalized(object)
            case .null: return [:]
            default: break
            }
        }
        var text = ""
        for (place, piece) in pieces.enumerated() {
            guard place == 0 || piece.number == place else {
                throw ManifestError(.malformed, "\(path): piece \(place) of createOptions is missing")
            }
            guard let part = piece.value.string else {
                throw ManifestError(.malformed, "\(path): createOptions must be a text of JSON")
            }
            text += part
        }
        return normalized(try EdgeDeployment.object(inText: text, at: "\(path).createOptions") ?? [:])
    }

    /// Without members that say nothing, so that two ways to write the same are the same.
    static func normalized(_ object: JSONObject) -> JSONObject {
        JSONObject(
            object.lazy.filter { !$0.value.isNull }.map { member in
                guard case .object(let inner) = member.value else { return (member.key, member.value) }
                return (member.key, .object(normalized(inner)))
            })
    }

    /// Cuts a text into the members in which a twin holds it.
    static func pieces(_ text: String) -> [(String, JSONValue)] {
        var result: [(String, JSONValue)] = []
        var rest = text[...]
        repeat {
            let piece = rest.prefix(pieceLength)
            rest = rest.dropFirst(pieceLength)
            let number = result.isEmpty ? "" : (result.count < 10 ? "0" : "") + String(result.count)
            result.append(("createOptions" + number, .string(String(piece))))
        } while !rest.isEmpty
        return result
    }
}
