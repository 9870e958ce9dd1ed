import Archive
import DockerEngine
import EdgeDaemon
import JSONDocument
import ModuleReconciling

/// Everything that helps to find out what is wrong with a device, in one archive and without secrets.
struct SupportBundle {
    struct Selection: Sendable {
        /// Unix seconds; nil from the beginning.
        var since: String?
        var until: String?
        /// Leaves out what the modules wrote.
        var runtimeOnly = false
    }

    /// The most that is taken of one log.
    private static let largestLog = 16 << 20

    let configuration: EdgeConfiguration
    let selection: Selection
    /// What the runtime itself wrote.
    let runtimeLog: String

    func archive() async -> [UInt8] {
        var archive = ZipArchive()
        func add(_ name: String, _ text: String) { archive.add(name, Array(text.utf8)) }
        add("runtime.log", runtimeLog)
        add("device.json", device.text(.pretty) + "\n")
        let findings = await DeviceCheck(configuration).findings()
        add("check.json", JSONValue(findings.map(\.json)).text(.pretty) + "\n")
        do {
            try await DeviceContainers.with(configuration) { containers in
                add("engine.json", try await containers.engine.versionDetails().text(.pretty) + "\n")
                for (module, container) in try await containers.all() {
                    let inspection = try await containers.engine.inspectContainer(container.id)
                    add("modules/\(module).json", Self.withoutSecrets(inspection.raw).text(.pretty) + "\n")
                    guard !selection.runtimeOnly else { continue }
                    let wanted = LogSelection(since: selection.since, until: selection.until, timestamps: true)
                    let log = try await containers.engine.logText(of: container.id, wanted, limit: Self.largestLog)
                    add("logs/\(module).log", log)
                }
            }
        } catch {
            add("engine-trouble.txt", "\(error)\n")
        }
        return archive.finished()
    }

    /// The configuration less its keys.
    private var device: JSONValue {
        [
            "version": .string(EdgeCommand.version), "device": .string(configuration.device.deviceID),
            "hub": .string(configuration.hub.hostName), "hostname": .string(configuration.hostName),
            "parentHostname": .optional(configuration.parentHostName),
            "stateFolder": .string(configuration.stateFolder),
            "listen": [
                "address": .string(configuration.listen.address),
                "https": Self.port(configuration.listen.httpsPort), "mqtt": Self.port(configuration.listen.mqttPort),
                "amqp": Self.port(configuration.listen.amqpPort),
            ],
            "engine": .string(configuration.engine.uri), "network": .string(configuration.engine.network),
        ]
    }

    /// Names of variables stay; their values may be passwords, but for those that the runtime sets.
    static func withoutSecrets(_ inspection: JSONValue) -> JSONValue {
        guard let variables = inspection.at(["Config", "Env"])?.array else { return inspection }
        let shown = variables.map { variable -> JSONValue in
            let text = variable.string ?? ""
            let name = text.prefix { $0 != "=" }
            return name.hasPrefix("IOTEDGE_") || name == "PATH" ? variable : .string("\(name)=…")
        }
        return inspection.merged(with: ["Config": ["Env": JSONValue(shown)]])
    }

    private static func port(_ number: Int?) -> JSONValue { number.map { JSONValue($0) } ?? .null }
}
