import HubProtocol
import JSONDocument
import Logging
import NIOCore
import NIOHTTP1
import Synchronization
import Testing
import Transport

@testable import HedgerowDevice

/// A runtime that knows one module and signs with a known answer.
private final class TestRuntime: HTTPResponder {
    let targets = Mutex<[String]>([])

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        targets.withLock { $0.append(request.target) }
        let body: JSONValue
        switch request.path {
        case ["trust-bundle"]: body = ["certificate": "PEM"]
        case ["modules", "m", "genid", "g/1", "sign"]:
            let question = try? JSONValue(parsing: request.body.readableBytesView)
            guard question?["keyId"] == "primary", question?["algo"] == "HMACSHA256" else {
                return HTTPResponse(status: .badRequest)
            }
            body = ["digest": "a+b/c="]
        default:
            return HTTPResponse(
                status: .forbidden, body: .bytes(ByteBuffer(string: #"{"message":"nobody of that name"}"#)))
        }
        return HTTPResponse(status: .ok, body: .bytes(ByteBuffer(bytes: body.bytes())))
    }
}

@Suite(.timeLimit(.minutes(5))) struct WorkloadClientTests {
    private func environment(_ socket: String, module: String = "m") throws -> EdgeEnvironment {
        try EdgeEnvironment([
            "IOTEDGE_DEVICEID": "pi", "IOTEDGE_MODULEID": module, "IOTEDGE_MODULEGENERATIONID": "g/1",
            "IOTEDGE_IOTHUBHOSTNAME": "hub.test", "IOTEDGE_WORKLOADURI": "unix://\(socket)",
        ])
    }

    private func withRuntime(_ body: (TestRuntime, String) async throws -> Void) async throws {
        let runtime = TestRuntime()
        let socket = "/tmp/hedgerow-test-\(UInt64.random(in: .min ... .max)).sock"
        let listener = try await HTTPServer.start(
            on: .unix(path: socket, mode: 0o600), responder: runtime, logger: Logger(label: "test"))
        do {
            try await body(runtime, socket)
        } catch {
            await listener.shutDown(grace: .zero)
            throw error
        }
        await listener.shutDown(grace: .zero)
    }

    @Test func `A module's token is signed by the runtime, and its roots come from there`() async throws {
        try await withRuntime { runtime, socket in
            let edge = try environment(socket)
            let client = WorkloadClient(socketPath: edge.socketPath, apiVersion: edge.apiVersion)
            #expect(try await client.trustBundle() == "PEM")
            let token = try await client.token(for: edge, now: 1000)
            #expect(
                token.text
                    == "SharedAccessSignature sr=hub.test%2Fdevices%2Fpi%2Fmodules%2Fm&sig=a%2Bb%2Fc%3D&se=4600")
            #expect(token.expiry == 4600)
            let targets = runtime.targets.withLock { $0 }
            #expect(targets.allSatisfy { $0.hasSuffix("?api-version=2019-01-30") })
        }
    }

    @Test func `A runtime that refuses, or is not there, is told apart by what the error says`() async throws {
        try await withRuntime { _, socket in
            let edge = try environment(socket, module: "other")
            let client = WorkloadClient(socketPath: edge.socketPath, apiVersion: edge.apiVersion)
            let error = await #expect(throws: DeviceError.self) { try await client.token(for: edge, now: 0) }
            #expect(error?.kind == .credential && error?.description.contains("nobody of that name") == true)
        }
        let absent = WorkloadClient(socketPath: "/tmp/hedgerow-no-socket", apiVersion: "1")
        let error = await #expect(throws: DeviceError.self) { try await absent.trustBundle() }
        #expect(error?.description.contains("/tmp/hedgerow-no-socket") == true)
    }
}
