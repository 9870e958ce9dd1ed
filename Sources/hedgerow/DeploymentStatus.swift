import JSONDocument
import NIOHTTP1
import ServiceClient
import Terminal

/// How far a deployment has come: its metrics, and each of its devices with what its agent reports.
struct DeploymentStatus {
    struct Device {
        let id: String
        /// `Applied` or `Targeted`.
        let status: String
        /// Code and description of the agent's `lastDesiredStatus` when it speaks of the current version.
        let code: Int?
        let description: String
        /// Modules that do not run as they should, with the reason.
        let troubles: [(module: String, reason: String)]
    }

    let id: String
    let targeted: Int
    let devices: [Device]

    var applied: Int { devices.count { $0.status == "Applied" } }
    var succeeded: Int { devices.count { $0.status == "Applied" && $0.code == 200 } }
    var failed: Int { devices.count { $0.status == "Applied" && $0.code != nil && $0.code != 200 } }

    /// Whether every device to which it applies has reported, one way or the other.
    var isSettled: Bool { devices.count == targeted && applied > 0 && succeeded + failed == applied }

    var summary: String {
        "\(id): targeted \(targeted), applied \(applied), succeeded \(succeeded), failed \(failed)"
    }

    static func read(_ id: String, _ client: ServiceClient) async throws -> DeploymentStatus {
        let configuration = try await client.call(.GET, ["configurations", id]).body
        let targeted = configuration.at(["systemMetrics", "results", "targetedCount"])?.int ?? 0
        let twins = try await client.query(
            "select * from devices.modules where moduleId = '$edgeAgent' and is_defined(configurations.[[\(id)]].status)"
        )
        let devices = twins.map { twin in
            let reported = twin.at(["properties", "reported"]) ?? [:]
            let current = twin.at(["properties", "desired", "$version"])?.int
            let speaksOfCurrent = reported["lastDesiredVersion"]?.int == current
            let modules = Array(reported["modules"]?.object ?? [:]) + Array(reported["systemModules"]?.object ?? [:])
            return Device(
                id: twin["deviceId"]?.string ?? "", status: twin.at(["configurations", id, "status"])?.string ?? "",
                code: speaksOfCurrent ? reported["lastDesiredStatus"]?["code"]?.int : nil,
                description: speaksOfCurrent ? reported["lastDesiredStatus"]?["description"]?.string ?? "" : "",
                troubles: modules.compactMap { name, module in
                    let status = module["runtimeStatus"]?.string ?? "unknown"
                    guard status != "running", status != module["status"]?.string else { return nil }
                    let reason = module["statusDescription"]?.string ?? ""
                    return (name, reason.isEmpty ? status : "\(status): \(reason)")
                })
        }
        return DeploymentStatus(id: id, targeted: targeted, devices: devices)
    }

    var json: JSONValue {
        [
            "id": .string(id), "targeted": JSONValue(targeted), "applied": JSONValue(applied),
            "succeeded": JSONValue(succeeded), "failed": JSONValue(failed),
            "devices": JSONValue(
                devices.map { device in
                    [
                        "deviceId": .string(device.id), "status": .string(device.status),
                        "code": device.code.map { JSONValue($0) } ?? .null,
                        "description": .string(device.description),
                        "troubles": JSONValue(
                            device.troubles.map { ["module": .string($0.module), "reason": .string($0.reason)] }),
                    ]
                }),
        ]
    }

    func print() {
        for line in lines { Terminal.result(line) }
    }

    var lines: [String] {
        guard !devices.isEmpty else { return [summary] }
        var table = Table("DEVICE", "STATUS", "REPORT", "MODULE", "REASON")
        for device in devices {
            let report = device.code.map { $0 == 200 ? "succeeded" : "failed (\($0))" } ?? "waiting"
            if device.troubles.isEmpty {
                table.add(device.id, device.status, report, nil, device.description.isEmpty ? nil : device.description)
            }
            for trouble in device.troubles {
                table.add(device.id, device.status, report, trouble.module, trouble.reason)
            }
        }
        return [summary] + table.lines()
    }
}
