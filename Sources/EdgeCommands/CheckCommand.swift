import ArgumentParser
import DockerEngine
import EdgeDaemon
import FoundationEssentials
import HubProtocol
import JSONDocument
import NIOCore
import NIOHTTP1
import ServiceClient
import Terminal

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Find out what is wrong with this device, and how to mend it.",
        discussion: "Exit status 1 when something is wrong.\n\nExample: hedgerow edge check")

    @OptionGroup var device: ConfigurationOption
    @OptionGroup var format: OutputOptions

    /// What was looked at and what was found; no reason means that it is well.
    struct Finding {
        let name: String
        let trouble: String?
    }

    func run() async throws {
        var findings: [Finding] = []
        do {
            let configuration = try device.read()
            findings.append(Finding(name: "configuration", trouble: nil))
            findings.append(await Self.engine(configuration))
            findings += await Self.hub(configuration)
        } catch {
            findings.append(Finding(name: "configuration", trouble: "\(error)"))
        }
        switch format.output {
        case .json:
            let list = findings.map { finding -> JSONValue in
                [
                    "name": .string(finding.name), "ok": .bool(finding.trouble == nil),
                    "trouble": .optional(finding.trouble),
                ]
            }
            Terminal.result(JSONValue(list).text(.pretty))
        case .table:
            for finding in findings {
                Terminal.result(finding.trouble.map { "✗ \(finding.name): \($0)" } ?? "✓ \(finding.name)")
            }
        }
        if findings.contains(where: { $0.trouble != nil }) { throw ExitCode(1) }
    }

    private static func engine(_ configuration: EdgeConfiguration) async -> Finding {
        do {
            try await DeviceContainers.with(configuration) { try await $0.engine.ping() }
            return Finding(name: "engine", trouble: nil)
        } catch {
            return Finding(
                name: "engine",
                trouble: "\(error); is the engine running, and may this user use \(configuration.engine.uri)?")
        }
    }

    /// Reaches the hub with the device's own key and compares the clocks.
    private static func hub(_ configuration: EdgeConfiguration) async -> [Finding] {
        let access = DeviceAccess(configuration)
        do {
            let client = try access.client()
            let answer: Result<ServiceAnswer, ServiceClientError>
            do {
                answer = .success(
                    try await client.call(
                        .GET, ["devices", configuration.device.deviceID, "modules"],
                        apiVersion: "2017-11-08-preview", timeout: .seconds(10)))
            } catch {
                answer = .failure(error)
            }
            await client.shutdown()
            switch answer {
            case .success: return [Finding(name: "hub", trouble: nil), Finding(name: "identity", trouble: nil)]
            case .failure(.refused(let status, _, let message)) where status == 401 || status == 404:
                return [
                    Finding(name: "hub", trouble: nil),
                    Finding(
                        name: "identity",
                        trouble:
                            "\(message); is the device registered and enabled, is its key current, and is the clock right?"
                    ),
                ]
            case .failure(let error): return [Finding(name: "hub", trouble: "\(error)")]
            }
        } catch {
            return [Finding(name: "hub", trouble: "\(error)")]
        }
    }
}
