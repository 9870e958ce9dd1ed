import ImageRegistry
package import JSONDocument
package import SolutionTemplate

/// The credentials of registries that a manifest hands to devices, and how they stay out of it.
package enum DeploymentCredentials {
    /// What stands for a credential that a helper knows.
    private static let helperMark = "${HEDGEROW_CREDENTIAL_HELPER}"

    /// The variables whose values are passwords: those that are named so, and those that stand for a `password`.
    static func secretVariables(in template: [UInt8]) -> Set<String> {
        let text = String(decoding: template, as: UTF8.self)
        var names: Set<String> = []
        var rest = text[...]
        while let mark = rest.firstIndex(of: "$") {
            rest = rest[rest.index(after: mark)...]
            let name: Substring
            if rest.first == "{" {
                rest = rest.dropFirst()
                name = rest.prefix { $0 != "}" && $0 != "\n" }
            } else {
                name = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
            }
            let before = text[..<mark].filter { !$0.isWhitespace }.suffix(12)
            if name.hasPrefix("CONTAINER_REGISTRY_PASSWORD") || before.hasSuffix("\"password\":\"") {
                names.insert(String(name))
            }
        }
        return names
    }

    /// An entry as it is to stand in a manifest; nil when it is not to stand there.
    static func entry(_ name: String, _ entry: JSONValue, for source: CredentialSource?) -> JSONValue? {
        switch source {
        case nil: return entry
        case .env?:
            guard let text = entry["password"]?.string, text.hasPrefix("$"), !text.hasPrefix("${") else { return entry }
            var object = entry.object ?? JSONObject()
            object["password"] = .string("${\(text.dropFirst())}")
            return .object(object)
        case CredentialSource.none?: return nil
        case .helper?:
            var object = entry.object ?? JSONObject()
            object["username"] = .string(helperMark)
            object["password"] = .string(helperMark)
            return .object(object)
        }
    }

    /// Whether an entry holds a password in plain text.
    static func holdsSecret(_ entry: JSONValue) -> Bool {
        guard let password = entry["password"]?.string, !password.isEmpty else { return false }
        return !isVariable(password)
    }

    private static func isVariable(_ text: String) -> Bool { text.hasPrefix("${") && text.hasSuffix("}") }

    /// Fills in what a manifest left out, just before it goes to the hub.
    ///
    /// - Parameter content: what lies under `content`, or the whole manifest.
    /// - Throws: `badSetting` when no helper knows the registry. A variable that is not set stays as it is written.
    package static func filled(
        _ content: JSONValue, _ environment: SolutionEnvironment
    ) async throws(SolutionError) -> JSONValue {
        let path = ["modulesContent", "$edgeAgent", "properties.desired", "runtime", "settings", "registryCredentials"]
        guard let entries = content.at(path)?.object, !entries.isEmpty else { return content }
        var filled = JSONObject()
        for (name, entry) in entries {
            var object = entry.object ?? JSONObject()
            if object["password"]?.string == helperMark {
                let address = object["address"]?.string ?? ""
                guard let login = await RegistryLogins(environment, source: .helper).login(for: address) else {
                    throw SolutionError(
                        .badSetting, "no login for the registry \(address) (\(name)); run docker login \(address)")
                }
                object["username"] = .string(login.userName)
                object["password"] = .string(login.identityToken ?? login.password)
            } else {
                for key in ["username", "password"] {
                    guard let text = object[key]?.string, isVariable(text),
                        let value = environment.variables[String(text.dropFirst(2).dropLast())]
                    else { continue }
                    object[key] = .string(value)
                }
            }
            filled[name] = .object(object)
        }
        return replacing(content, path[...], .object(filled))
    }

    private static func replacing(_ value: JSONValue, _ path: ArraySlice<String>, _ new: JSONValue) -> JSONValue {
        guard let first = path.first else { return new }
        var object = value.object ?? JSONObject()
        object[first] = replacing(object[first] ?? .object([:]), path.dropFirst(), new)
        return .object(object)
    }
}
