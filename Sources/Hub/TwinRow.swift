import HubStore
import JSONDocument
import Model
import QueryLanguage

/// A twin as queries and target conditions read it: only the parts they ask for are parsed.
final class TwinRow: QueryRow {
    let record: IdentityRecord
    private lazy var tags = Self.parse(record.twin.tags)
    private lazy var desired = Self.parse(record.twin.desired)
    private lazy var reported = Self.parse(record.twin.reported)
    private lazy var configurations = Self.parse(record.twin.configurations)
    private lazy var whole = (try? JSONValue(parsing: record.twin.serviceView(of: record.identity))) ?? .null

    init(_ record: IdentityRecord) { self.record = record }

    /// The store holds only what was written from a value.
    private static func parse(_ text: String) -> JSONValue { (try? JSONValue(parsing: text)) ?? [:] }

    func value(at path: QueryPath) -> JSONValue? {
        guard case .member(let root)? = path.steps.first else { return nil }
        let rest = path.steps.dropFirst()
        switch root {
        case "tags": return tags.value(at: QueryPath(Array(rest)))
        case "configurations":
            return record.twin.configurations.utf8.count > 2 ? configurations.value(at: QueryPath(Array(rest))) : nil
        case "properties": return property(rest) ?? whole.value(at: path)
        case "deviceId" where rest.isEmpty: return .string(record.identity.key.deviceID)
        case "moduleId" where rest.isEmpty: return record.identity.key.moduleID.map(JSONValue.string)
        case "status" where rest.isEmpty: return .string(record.identity.isEnabled ? "enabled" : "disabled")
        case "connectionState" where rest.isEmpty:
            return .string(record.identity.isConnected ? "Connected" : "Disconnected")
        case "lastActivityTime" where rest.isEmpty: return .string(record.identity.lastActivity.description)
        case "capabilities" where path.members == ["capabilities", "iotEdge"]:
            return record.identity.key.isModule ? nil : .bool(record.identity.isEdge)
        default: return whole.value(at: path)
        }
    }

    /// A member of a section; nil where the whole twin has to answer.
    private func property(_ steps: ArraySlice<QueryPath.Step>) -> JSONValue? {
        guard steps.count > 1, case .member(let section)? = steps.first,
            case .member(let name) = steps[steps.startIndex + 1]
        else { return nil }
        let isDesired = section == "desired"
        guard isDesired || section == "reported" else { return nil }
        switch name {
        case "$version" where steps.count == 2:
            return JSONValue(isDesired ? record.twin.desiredVersion : record.twin.reportedVersion)
        case "$metadata": return nil
        default: return (isDesired ? desired : reported).value(at: QueryPath(Array(steps.dropFirst())))
        }
    }
}
