import DockerEngine
import EdgeDaemon
import FoundationEssentials
import JSONDocument
import NIOCore
import NIOHTTP1
import ServiceClient

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Looks at everything that a device needs, and says of what is wrong why it matters and how to mend it.
struct DeviceCheck {
    /// What was looked at and what was found; no trouble means that it is well.
    struct Finding {
        let name: String
        var trouble: String?
        var remedy: String?
        /// What was found where it is well, such as a version.
        var detail: String?

        var json: JSONValue {
            [
                "name": .string(name), "ok": .bool(trouble == nil), "trouble": .optional(trouble),
                "remedy": .optional(remedy), "detail": .optional(detail),
            ]
        }
    }

    private let configuration: EdgeConfiguration
    private var state: String { configuration.stateFolder }

    init(_ configuration: EdgeConfiguration) { self.configuration = configuration }

    func findings() async -> [Finding] {
        var findings = await engine()
        findings.append(disk())
        findings.append(certificates())
        findings += ports()
        findings += await hub()
        findings += await protocols()
        return findings
    }

    // MARK: The engine

    private func engine() async -> [Finding] {
        let uri = configuration.engine.uri
        do {
            return try await DeviceContainers.with(configuration) { containers in
                try await containers.engine.ping()
                let information = try await containers.engine.information()
                var findings = [
                    Finding(
                        name: "engine", detail: "\(information.serverVersion) on \(information.architecture)")
                ]
                findings.append(logging(information.raw["LoggingDriver"]?.string))
                findings.append(await network(containers.engine))
                return findings
            }
        } catch {
            return [
                Finding(
                    name: "engine", trouble: "\(error)",
                    remedy:
                        "Install and start a container engine (apt install docker.io), let this user use \(uri), or "
                        + "name another socket as uri in [engine].")
            ]
        }
    }

    /// Modules get a log that is turned over, whatever the engine's own default is; other drivers keep nothing to read.
    private func logging(_ driver: String?) -> Finding {
        guard let driver, !["json-file", "local", "journald"].contains(driver) else {
            return Finding(name: "logs of modules", detail: driver)
        }
        return Finding(
            name: "logs of modules", trouble: "the engine's log driver \(driver) keeps no logs that can be read back",
            remedy: "Set \"log-driver\": \"local\" in /etc/docker/daemon.json, or loggingOptions in the deployment.")
    }

    private func network(_ engine: DockerEngine) async -> Finding {
        let name = configuration.engine.network
        do throws(EngineError) {
            let network = try await engine.inspectNetwork(name)
            return Finding(name: "network", detail: "\(name) \(network.gateway ?? "")")
        } catch {
            guard error.code != .notFound else {
                return Finding(name: "network", detail: "\(name) is made with the first module")
            }
            return Finding(
                name: "network", trouble: "the network \(name) cannot be looked at: \(error.reason)",
                remedy: "Restart the engine; remove the network with `docker network rm \(name)` when it stays so.")
        }
    }

    // MARK: This machine

    private func disk() -> Finding {
        let name = "disk"
        guard Files.exists(state) else {
            return Finding(
                name: name, trouble: "the state folder \(state) does not exist yet",
                remedy: "Start the runtime once, as a user that may make it; or name another as dir in [state].")
        }
        guard Files.isWritable(state) else {
            return Finding(
                name: name, trouble: "\(state) cannot be written",
                remedy: "Run as the user that owns it, and look whether its disk is mounted read-only.")
        }
        guard let room = Files.room(of: state) else { return Finding(name: name) }
        let free = "\(room.free >> 20) MB of \(room.total >> 20) MB are free"
        guard room.free >= 200 << 20, room.freeNodes != 0 else {
            return Finding(
                name: name, trouble: "on the disk of \(state) only \(free)",
                remedy:
                    "Remove what is not needed (`docker image prune`, old logs). Messages are refused and images not "
                    + "pulled when it is full.")
        }
        return Finding(name: name, detail: free)
    }

    private func certificates() -> Finding {
        let name = "certificates"
        let path = "\(state)/ca/ca.pem"
        guard Files.exists(path) else {
            return Finding(name: name, detail: "the device's authority is made with the first start")
        }
        guard let end = Files.certificateEnd(path) else {
            return Finding(
                name: name, trouble: "\(path) is no certificate",
                remedy:
                    "Restore \(state)/ca from a backup, or move it away: a new authority is made with the next start, "
                    + "and leaf devices have to be given it.")
        }
        let days = Int(end.timeIntervalSinceNow / 86_400)
        guard days >= 30 else {
            return Finding(
                name: name, trouble: "the device's authority ends in \(days) days",
                remedy:
                    "Is the clock right? If it is, move \(state)/ca away and restart the runtime; give leaf devices the "
                    + "new ca.pem.")
        }
        return Finding(name: name, detail: "the device's authority is valid for \(days) more days")
    }

    /// Another program on a port of the edge hub keeps the runtime from starting.
    private func ports() -> [Finding] {
        let address = configuration.listen.address
        guard !StateLock.isHeld(state) else {
            return [Finding(name: "runtime", detail: "it runs, and holds its ports")]
        }
        let wanted = [
            ("HTTPS", configuration.listen.httpsPort ?? 443), ("MQTT", configuration.listen.mqttPort ?? 8883),
            ("AMQP", configuration.listen.amqpPort ?? 5671),
        ]
        let stopped = Finding(
            name: "runtime", trouble: "it does not run",
            remedy: "Start it: systemctl start hedgerow-edge, or hedgerow edge run; its log says why it ended.")
        return [stopped]
            + wanted.filter { $0.1 != 0 }.map { name, port in
                guard let reason = Files.troubleListening(on: address, port: port) else {
                    return Finding(name: "port \(port)", detail: name)
                }
                return Finding(
                    name: "port \(port)", trouble: "\(name) of the edge hub cannot listen on \(address): \(reason)",
                    remedy: "Find who has it with `ss -ltnp 'sport = :\(port)'`, or give another port in [listen].")
            }
    }

    // MARK: The hub

    /// Reaches the hub with the device's own credential and compares the clocks.
    private func hub() async -> [Finding] {
        let answer: ServiceAnswer
        do {
            let client = try DeviceAccess(configuration).client()
            let result: Result<ServiceAnswer, ServiceClientError>
            do {
                result = .success(
                    try await client.call(
                        .GET, ["devices", configuration.device.deviceID, "modules"],
                        apiVersion: "2017-11-08-preview", timeout: .seconds(10)))
            } catch {
                result = .failure(error)
            }
            await client.shutdown()
            answer = try result.get()
        } catch ServiceClientError.refused(let status, _, let message) where status == 401 || status == 404 {
            return [
                Finding(name: "hub"),
                Finding(
                    name: "identity", trouble: message,
                    remedy:
                        "Is \(configuration.device.deviceID) registered and enabled, is its key the current one, and "
                        + "is this machine's clock right?"),
            ]
        } catch {
            return [
                Finding(
                    name: "hub", trouble: "\(error)",
                    remedy:
                        "Modules go on without it, and messages wait. Look at the network, the name's address and the "
                        + "root certificate (ca in [hub]).")
            ]
        }
        var findings = [Finding(name: "hub"), Finding(name: "identity")]
        if let text = answer.headers.first(name: "date"), let time = WebTime.seconds(text) {
            let ahead = Int(Date().timeIntervalSince1970) - time
            let isRight = abs(ahead) < 120
            findings.append(
                Finding(
                    name: "clock", trouble: isRight ? nil : "this machine is \(ahead) s ahead of the hub",
                    remedy: isRight
                        ? nil : "Set the clock (timedatectl set-ntp true): tokens and certificates depend on it.",
                    detail: isRight ? "\(ahead) s ahead of the hub" : nil))
        }
        return findings
    }

    /// Whether the ports of each protocol take a connection: networks let through some and not others.
    private func protocols() async -> [Finding] {
        let host = configuration.upstreamHostName
        let ports = [
            ("HTTPS", configuration.hub.httpsPort), ("MQTT", configuration.hub.mqttPort),
            ("AMQP", configuration.hub.amqpPort),
        ]
        return await withTaskGroup(of: Finding.self) { group in
            for (name, port) in ports {
                group.addTask {
                    let label = "hub over \(name)"
                    guard let reason = await HubPort.trouble(host: host, port: port) else {
                        return Finding(name: label, detail: "\(host):\(port)")
                    }
                    let other =
                        name == "HTTPS"
                        ? "" : " UpstreamProtocol of edgeHub names another way: MqttWs and AmqpWs use HTTPS."
                    return Finding(
                        name: label, trouble: "\(host):\(port): \(reason)",
                        remedy: "Open the port in the firewall, or mend the address in [hub]." + other)
                }
            }
            var findings: [Finding] = []
            for await finding in group { findings.append(finding) }
            return findings.sorted { $0.name < $1.name }
        }
    }
}
