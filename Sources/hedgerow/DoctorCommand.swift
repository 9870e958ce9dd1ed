import ArgumentParser
import DockerEngine
import FoundationEssentials
import HubProtocol
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceClient
import Terminal

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Find out what is missing on this machine, and how to mend it.",
        discussion: """
            Looks at the login, the hub's ports, its certificate, the credential and the clocks, and at the container \
            engine that `build` and `up` use. `hedgerow edge check` does the like on a device. Exit status 1 when something \
            is wrong.

            Example: hedgerow doctor --output json
            """)

    @OptionGroup var format: OutputOptions
    @OptionGroup var hub: HubOptions

    /// What was looked at and what was found; no trouble means that it is well.
    struct Finding {
        let name: String
        let detail: String
        var trouble: String?
        var remedy: String?
    }

    func run() async throws {
        var findings: [Finding] = []
        do {
            let access = try hub.access()
            findings.append(Finding(name: "login", detail: access.connection.hostName))
            for (name, port) in [("https", access.httpsPort), ("mqtt", access.mqttPort), ("amqp", access.amqpPort)] {
                findings.append(await Self.port(name, access.connection.hostName, port))
            }
            findings += await Self.service(access)
        } catch {
            let reason = (error as? ValidationError)?.message ?? "\(error)"
            findings.append(
                Finding(name: "login", detail: "", trouble: reason, remedy: "hedgerow login CONNECTION-STRING"))
        }
        findings.append(await Self.engine())
        write(findings)
        if findings.contains(where: { $0.trouble != nil }) { throw ExitCode(1) }
    }

    private func write(_ findings: [Finding]) {
        switch format.output {
        case .json:
            let list = findings.map { finding -> JSONValue in
                [
                    "name": .string(finding.name), "ok": .bool(finding.trouble == nil),
                    "detail": .string(finding.detail), "trouble": .optional(finding.trouble),
                    "remedy": .optional(finding.remedy),
                ]
            }
            Terminal.result(JSONValue(list).text(.pretty))
        case .table:
            for finding in findings {
                if let trouble = finding.trouble {
                    Terminal.result("\(Style.bad("✗")) \(finding.name): \(trouble)")
                    if let remedy = finding.remedy { Terminal.result("    → \(remedy)") }
                } else {
                    Terminal.result("\(Style.good("✓")) \(finding.name)  \(Style.faint(finding.detail))")
                }
            }
        }
    }

    private static func port(_ name: String, _ host: String, _ port: Int) async -> Finding {
        do {
            let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .connectTimeout(.seconds(5)).connect(host: host, port: port).get()
            try? await channel.close()
            return Finding(name: name, detail: "\(host):\(port)")
        } catch {
            return Finding(
                name: name, detail: "\(host):\(port)", trouble: "nobody answers at \(host):\(port)",
                remedy: "is the hub running, is the name right, and does a firewall let port \(port) through? "
                    + "Other ports: --\(name)-port or HEDGEROW_\(name.uppercased())_PORT")
        }
    }

    /// Certificate, credential and clock, by one call.
    private static func service(_ access: HubAccess) async -> [Finding] {
        let certificate = Finding(name: "certificate", detail: "carries the name and is trusted")
        do {
            return try await access.withClient { client in
                let before = Date()
                let answer = try await client.call(.GET, ["statistics", "devices"], timeout: .seconds(10))
                let total = answer.body["totalDeviceCount"]?.int ?? 0
                let findings = [
                    certificate,
                    Finding(
                        name: "credential",
                        detail: "\(access.connection.sharedAccessKeyName ?? "") may read; \(total) devices"),
                ]
                return findings + clock(answer.headers.first(name: "date"), before: before)
            }
        } catch ServiceClientError.refused(let status, _, let message) {
            return [
                certificate,
                Finding(
                    name: "credential", detail: "", trouble: "the hub refuses it (\(status)): \(message)",
                    remedy:
                        "take the string anew with `hedgerow hub connection-string --data DIR`, and compare the clocks"),
            ]
        } catch ServiceClientError.untrusted(_, _, let reason) {
            return [
                Finding(
                    name: "certificate", detail: "", trouble: reason,
                    remedy: "give the hub's root with --ca or HEDGEROW_CA; `hedgerow hub ca --data DIR` prints it")
            ]
        } catch {
            return [Finding(name: "service", detail: "", trouble: "\(error)", remedy: "see the ports above")]
        }
    }

    private static func clock(_ header: String?, before: Date) -> [Finding] {
        guard let theirs = header.flatMap(seconds) else { return [] }
        let difference = theirs - before.timeIntervalSince1970
        guard abs(difference) > 60 else { return [Finding(name: "clock", detail: "within a minute of the hub's")] }
        return [
            Finding(
                name: "clock", detail: "", trouble: "it differs from the hub's by \(Int(difference)) s",
                remedy: "set the clock (timedatectl set-ntp true): tokens end by it")
        ]
    }

    /// Seconds since 1970 of a time as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
    static func seconds(_ text: String) -> Double? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let month = months.firstIndex(of: String(parts[2])) else {
            return nil
        }
        let number = month + 1
        let time = Timestamp(parsing: "\(parts[3])-\(number < 10 ? "0" : "")\(number)-\(parts[1])T\(parts[4])Z")
        return time.map { Double($0.ticks) / 1e7 }
    }

    private static func engine() async -> Finding {
        let host = ProcessInfo.processInfo.environment["DOCKER_HOST"] ?? ""
        let uri = host.isEmpty ? "unix:///var/run/docker.sock" : host
        do {
            let engine = DockerEngine(try EngineEndpoint(parsing: uri))
            let answer: Result<Void, any Error>
            do {
                answer = .success(try await engine.ping())
            } catch {
                answer = .failure(error)
            }
            await engine.shutdown()
            try answer.get()
            return Finding(name: "engine", detail: uri)
        } catch {
            return Finding(
                name: "engine", detail: uri, trouble: "no container engine answers at \(uri)",
                remedy: "apt-get install docker.io, or set DOCKER_HOST; `hedgerow up` as root starts one of its own")
        }
    }
}
