import DeviceGateway
import EdgeHub
import HubProtocol
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Testing
import Transport

@Suite(.timeLimit(.minutes(5))) struct MethodTests {
    let fixture = EdgeHubFixture()

    private func request(_ body: JSONValue, to path: [String], token: String? = nil) -> HTTPRequest {
        HTTPRequest(
            method: .POST, target: "/" + path.joined(separator: "/"), path: path,
            headers: ["x-ms-edge-moduleId": "pi/lamp", "authorization": token ?? EdgeHubFixture.token(lamp)],
            body: ByteBuffer(bytes: body.bytes()))
    }

    private func body(_ response: HTTPResponse) throws -> JSONValue {
        guard case .bytes(let bytes) = response.body else { return .null }
        return try JSONValue(parsing: bytes.readableBytesView)
    }

    @Test func `A method of the cloud reaches the module and its answer goes back`() async throws {
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub, listeningTo: [.methods])
            let connection = await fixture.upstream.state.wait { $0.connections[probe] != nil }.connections[probe]
            let method = try #require(connection?.events.method)
            async let answer = method("reset", ByteBuffer(string: #"{"hard":true}"#))
            let call = await session.state.wait { !$0.methods.isEmpty }.methods[0]
            #expect(call.name == "reset")
            #expect(call.payload == #"{"hard":true}"#)
            hub.methodAnswered(MethodAnswer(id: call.id, status: 201, payload: ByteBuffer(string: "[1]")), by: session)
            #expect(await answer.status == 201)
            #expect(await String(buffer: answer.payload) == "[1]")
            hub.closed(session)
            #expect(await method("reset", ByteBuffer()).status == 404)
        }
    }

    @Test func `A module calls a method of another module`() async throws {
        fixture.upstream.cut()
        try await fixture.serve { hub in
            let responder = EdgeHubResponder(hub)
            let session = try await fixture.connect(probe, to: hub, listeningTo: [.methods])
            async let response = responder.respond(
                to: request(["methodName": "blink", "payload": 3], to: ["twins", "pi", "modules", "probe", "methods"]))
            let call = await session.state.wait { !$0.methods.isEmpty }.methods[0]
            hub.methodAnswered(
                MethodAnswer(id: call.id, status: 200, payload: ByteBuffer(string: "\"ok\"")), by: session)
            #expect(await response.status == .ok)
            #expect(try await body(response) == ["status": 200, "payload": "ok"])
        }
    }

    @Test func `A call waits for the target to connect, and gives up`() async throws {
        try await fixture.serve { hub in
            let responder = EdgeHubResponder(hub)
            let path = ["twins", "pi", "modules", "probe", "methods"]
            let missing = await responder.respond(to: request(["methodName": "blink"], to: path))
            #expect(missing.status == .notFound)
            #expect(missing.headers.first(name: "iothub-errorcode") == "DeviceNotOnline")
            async let later = responder.respond(
                to: request(["methodName": "blink", "connectTimeoutInSeconds": 300], to: path))
            let session = try await fixture.connect(probe, to: hub, listeningTo: [.methods])
            let call = await session.state.wait { !$0.methods.isEmpty }.methods[0]
            hub.methodAnswered(MethodAnswer(id: call.id, status: 200, payload: ByteBuffer()), by: session)
            #expect(await later.status == .ok)
            let late = await responder.respond(
                to: request(["methodName": "blink", "responseTimeoutInSeconds": 5], to: path))
            #expect(late.status == .gatewayTimeout)
        }
    }

    @Test func `A caller must prove itself and write a sound request`() async throws {
        try await fixture.serve { hub in
            let responder = EdgeHubResponder(hub)
            let path = ["twins", "pi", "modules", "probe", "methods"]
            let forged = request(["methodName": "a"], to: path, token: EdgeHubFixture.token(probe))
            #expect(await responder.respond(to: forged).status == .unauthorized)
            for bad: JSONValue in [
                [], ["methodName": ""], ["methodName": "a", "responseTimeoutInSeconds": 4],
                ["methodName": "a", "payload": .string(String(repeating: "x", count: 140_000))],
            ] {
                #expect((400...413).contains(await responder.respond(to: request(bad, to: path)).status.code))
            }
            #expect(await responder.respond(to: request([:], to: ["twins"])).status == .notFound)
        }
    }
}
