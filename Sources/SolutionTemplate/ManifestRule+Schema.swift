package import JSONDocument

/// The schemas that editors use, made of the rules that the tool itself checks by.
package enum PublishedSchema: String, CaseIterable, Sendable {
    case manifest = "deployment-manifest"
    case template = "deployment-template"
    case module
    case createOptions = "create-options"

    private var rule: ManifestRule {
        switch self {
        case .manifest: .manifest
        case .template: .template
        case .module: .moduleDescription
        case .createOptions: .createOptions
        }
    }

    private var title: String {
        switch self {
        case .manifest: "Deployment manifest of an edge device"
        case .template: "Deployment template: a manifest with placeholders for images and variables"
        case .module: "module.json: what image a folder becomes on which platform"
        case .createOptions: "createOptions of a module: how the container engine creates its container"
        }
    }

    /// The schema as a JSON document (draft 7).
    package var json: JSONValue {
        var schema: JSONObject = [
            "$schema": "http://json-schema.org/draft-07/schema#", "title": .string(title),
        ]
        for (key, value) in rule.schema { schema[key] = value }
        return .object(schema)
    }
}

extension ManifestRule {
    /// What the rule says, as a JSON schema.
    fileprivate var schema: JSONObject {
        switch self {
        case .text(.any): return ["type": "string"]
        case .text(.variable): return ["type": "string", "pattern": #"\$"#]
        case .text(.notEmpty): return ["type": "string", "minLength": 1]
        case .text(.noBlanks): return ["type": "string", "pattern": #"^\S+$"#]
        case .integer(let range):
            guard let range else { return ["type": "integer"] }
            return ["type": "integer", "minimum": JSONValue(range.lowerBound), "maximum": JSONValue(range.upperBound)]
        case .choice(let allowed): return ["enum": .array(allowed.map(JSONValue.string))]
        case .scalar: return ["type": ["string", "number", "boolean"]]
        case .bool: return ["type": "boolean"]
        case .anyObject: return ["type": "object"]
        case .anything: return [:]
        case .optional(let rule): return ["anyOf": [["type": "null"], .object(rule.schema)]]
        case .list(let rule): return ["type": "array", "items": .object(rule.schema)]
        case .either(let first, let second): return ["anyOf": [.object(first.schema), .object(second.schema)]]
        case .object(let members):
            var schema: JSONObject = ["type": "object"]
            if !members.required.isEmpty { schema["required"] = .array(members.required.map(JSONValue.string)) }
            if !members.named.isEmpty {
                schema["properties"] = .object(JSONObject(members.named.map { ($0.0, .object($0.1.schema)) }))
            }
            if let others = members.others {
                schema["patternProperties"] = .object([others.name.pattern: .object(others.rule.schema)])
            }
            if !members.isOpen { schema["additionalProperties"] = false }
            return schema
        }
    }
}
