package import JSONDocument
package import Model

/// The queries behind a configuration's system metrics, runnable as they stand (hub.md, section 5.4).
package enum SystemMetrics {
    /// By the names `targetedCount`, `appliedCount`, `reportedSuccessfulCount`, `reportedFailedCount`.
    package static func queries(of configuration: Configuration) -> JSONObject {
        let id = configuration.id
        let condition = configuration.targetCondition.trimmed
        switch configuration.content {
        case .device:
            return [
                "targetedCount": .string(select("devices", nil, condition)),
                "appliedCount": .string(
                    "select deviceId from devices where configurations.[[\(id)]].status = 'Applied'"),
            ]
        case .module:
            return [
                "targetedCount": .string(condition.isEmpty ? "" : "select deviceId, moduleId \(condition)"),
                "appliedCount": .string(
                    "select deviceId, moduleId from devices.modules where configurations.[[\(id)]].status = 'Applied'"),
            ]
        case .edge:
            let applied =
                "select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[\(id)]].status = 'Applied'"
            let current = " and properties.desired.$version = properties.reported.lastDesiredVersion"
            let code = " and properties.reported.lastDesiredStatus.code"
            return [
                "targetedCount": .string(select("devices", "capabilities.iotEdge = true", condition)),
                "appliedCount": .string(applied),
                "reportedSuccessfulCount": .string("\(applied)\(current)\(code) = 200"),
                "reportedFailedCount": .string("\(applied)\(current)\(code) != 200"),
            ]
        }
    }

    /// An empty condition targets nothing and has no query; `*` needs no condition.
    private static func select(_ source: String, _ always: String?, _ condition: String) -> String {
        guard !condition.isEmpty else { return "" }
        let parts = [always, condition == "*" ? nil : "(\(condition))"].compactMap(\.self)
        let clause = parts.isEmpty ? "" : " where \(parts.joined(separator: " and "))"
        return "select deviceId from \(source)\(clause)"
    }
}

extension String {
    fileprivate var trimmed: String {
        String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }
}
