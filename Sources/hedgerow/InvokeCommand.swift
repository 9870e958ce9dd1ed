import ArgumentParser
import JSONDocument
import NIOCore
import NIOHTTP1
import ServiceClient
import Terminal

struct InvokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "invoke", abstract: "Call a direct method of a device or module and print its answer.",
        discussion: """
            Example: hedgerow invoke pi SunshineDownloader --method poll --payload '{"now":true}'
            """)

    @Argument(help: "The device's id.") var device: String
    @Argument(help: "The module's id; the device itself if not given.") var module: String?
    @Option(help: "The method's name.") var method: String
    @Option(help: "The payload as JSON.") var payload = "null"
    @Option(help: "Seconds that the answer may take, 5 to 300.") var timeout = 30
    @Option(help: "Seconds to wait for the device to connect, 0 to 300.") var connectTimeout = 0
    @OptionGroup var format: OutputOptions
    @OptionGroup var hub: HubOptions

    func run() async throws {
        let payload: JSONValue
        do {
            payload = try JSONValue(parsing: self.payload)
        } catch {
            throw ValidationError("--payload is no JSON: \(error)")
        }
        try await hub.access().withClient { client in
            let path = ["twins", device] + (module.map { ["modules", $0] } ?? []) + ["methods"]
            let answer = try await client.call(
                .POST, path,
                body: [
                    "methodName": .string(method), "payload": payload,
                    "responseTimeoutInSeconds": JSONValue(timeout),
                    "connectTimeoutInSeconds": JSONValue(connectTimeout),
                ], timeout: .seconds(Int64(timeout + connectTimeout + 15)))
            Terminal.result(answer.body.text(.pretty))
        }
    }
}
