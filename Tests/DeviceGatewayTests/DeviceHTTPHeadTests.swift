import DeviceGateway
import HubProtocol
import Model
import NIOCore
import NIOHTTP1
import Testing
import Transport

@Suite struct DeviceHTTPHeadTests {
    private let backend = MemoryBackend()
    private var head: DeviceHTTPHead { DeviceHTTPHead(backend: backend) }

    private func post(_ path: [String], _ body: String, _ headers: HTTPHeaders = ["authorization": "token"])
        -> HTTPRequest
    {
        HTTPRequest(
            method: .POST, target: "", path: path, headers: headers, body: ByteBuffer(string: body))
    }

    @Test func `A message is taken with the properties of its headers`() async throws {
        let request = post(
            ["devices", "pi", "messages", "events"], "hello",
            [
                "authorization": "token", "host": "hub.test:443", "IoTHub-MessageId": "7",
                "iothub-app-Colour": "red/blue",
                "content-type": "text/plain",
            ])
        let response = try #require(await head.respond(to: request))
        #expect(response.status == .noContent)
        #expect(
            backend.accepted == [.init(key: IdentityKey(device: "pi"), bag: "$.mid=7&Colour=red%2Fblue", body: "hello")]
        )
        #expect(backend.claims.first?.hostName == "hub.test")
    }

    @Test func `A batch of a module is taken whole`() async throws {
        let request = post(
            ["Devices", "pi", "modules", "m", "messages", "Events"],
            #"[{"body":"aGk="},{"body":"plain","base64Encoded":false,"properties":{"iothub-app-k":"v","iothub-messageid":"2"}}]"#,
            ["authorization": "token", "content-type": "application/vnd.microsoft.iothub.json"])
        let response = try #require(await head.respond(to: request))
        #expect(response.status == .noContent)
        #expect(backend.accepted.map(\.body) == ["hi", "plain"])
        #expect(backend.accepted.map(\.bag) == ["", "$.mid=2&k=v"])
        #expect(backend.batches == 1)
    }

    @Test(arguments: [
        ("wrong", "{}", 401, "IotHubUnauthorized"), ("token", "no json", 400, "IotHubFormatError"),
        ("token", #"[{"body":"%"}]"#, 400, "ArgumentInvalid"), ("token", "[{}]", 400, "ArgumentInvalid"),
        (
            "token", "[{\"base64Encoded\":false,\"body\":\"\(String(repeating: "x", count: 262_145))\"}]", 413,
            "MessageTooLarge"
        ),
    ])
    func `A refusal names its reason`(token: String, body: String, status: Int, name: String) async throws {
        let request = post(
            ["devices", "pi", "messages", "events"], body,
            ["authorization": token, "content-type": "application/vnd.microsoft.iothub.json"])
        let response = try #require(await head.respond(to: request))
        #expect(Int(response.status.code) == status)
        #expect(response.headers.first(name: "iothub-errorcode") == name)
        #expect(backend.accepted.isEmpty)
    }

    @Test func `Other paths are left to others`() async {
        #expect(await head.respond(to: post(["devices", "pi"], ""))?.status == nil)
        #expect(await head.respond(to: post(["devices", "pi", "messages", "deviceBound"], ""))?.status == nil)
        var get = post(["devices", "pi", "messages", "events"], "")
        get.method = .GET
        #expect(await head.respond(to: get)?.status == nil)
    }
}
