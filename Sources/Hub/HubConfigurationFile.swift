package import JSONDocument
import Model
import PKI
import TOMLDocument

/// The file of `hub run --config FILE`, in TOML: what the options of the command say, and message routing.
package struct HubConfigurationFile: Sendable {
    package let path: String
    private let root: TOMLTable
    /// The table `routing` in the form of the REST interface; nil without one.
    package let routing: JSONValue?

    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private static let known: Set<String> = [
        "hostname", "name", "bind", "https_port", "mqtt_port", "amqp_port", "tls_cert", "tls_key", "partitions",
        "retention_days", "retention_hours", "retention_gigabytes", "retention_megabytes", "log_level", "log_format",
        "routing",
    ]

    package init(reading path: String) throws {
        guard let bytes = try SecretFile.read(path) else { throw Failure(description: "there is no file \(path)") }
        self.path = path
        do {
            root = try TOMLTable(parsing: String(decoding: bytes, as: UTF8.self))
        } catch {
            throw Failure(description: "\(path), \(error)")
        }
        if let key = root.keys.first(where: { !Self.known.contains($0) }) {
            throw Failure(
                description: "\(path) has '\(key)', which means nothing; known are "
                    + Self.known.sorted().joined(separator: ", "))
        }
        routing = root["routing"].map(Self.json)
        if let routing {
            do {
                _ = try RoutingDocument(routing, isOperator: true)
            } catch {
                throw Failure(description: "\(path), routing: \(error.message)")
            }
        }
    }

    package func text(_ key: String) throws -> String? {
        guard let value = root[key] else { return nil }
        guard let text = value.string else { throw Failure(description: "\(path): \(key) is no text") }
        return text
    }

    package func number(_ key: String) throws -> Int? {
        guard let value = root[key] else { return nil }
        guard let number = value.integer else { throw Failure(description: "\(path): \(key) is no number") }
        return Int(number)
    }

    private static func json(_ value: TOMLValue) -> JSONValue {
        switch value {
        case .string(let text), .date(let text): .string(text)
        case .integer(let number): JSONValue(Int(number))
        case .double(let number): JSONValue(number)
        case .bool(let flag): .bool(flag)
        case .array(let elements): .array(elements.map(json))
        case .table(let table):
            .object(JSONObject(table.keys.compactMap { key in table[key].map { (key, json($0)) } }))
        }
    }
}
