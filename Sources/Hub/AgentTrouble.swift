import JSONDocument
import Model

/// What is wrong on an edge device, by what its `$edgeAgent` reports.
enum AgentTrouble {
    /// States of a module that somebody should look at.
    private static let states: Set<String> = ["backoff", "unhealthy", "failed", "dead"]
    private static let limit = 20

    /// Modules that do not run as they should, and a deployment that the agent could not carry out: `{"module","state",
    /// "reason"}` each, the agent itself as `$edgeAgent`.
    static func all(inReported text: String) -> [JSONValue] {
        guard text.utf8.count > 2, let reported = try? JSONValue(parsing: text) else { return [] }
        var troubles: [JSONValue] = []
        if let code = reported.at(["lastDesiredStatus", "code"])?.int, code >= 400 {
            troubles.append(
                trouble("$edgeAgent", String(code), reported.at(["lastDesiredStatus", "description"])?.string))
        }
        for section in ["systemModules", "modules"] {
            for (name, module) in reported[section]?.object ?? [:] {
                guard let state = module["runtimeStatus"]?.string, states.contains(state) else { continue }
                troubles.append(trouble(name, state, module["statusDescription"]?.string))
            }
        }
        return Array(troubles.prefix(limit))
    }

    private static func trouble(_ module: String, _ state: String, _ reason: String?) -> JSONValue {
        ["module": .string(module), "state": .string(state), "reason": .string(reason ?? "")]
    }
}
