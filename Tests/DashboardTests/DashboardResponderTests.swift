import FoundationEssentials
import HubProtocol
import JSONDocument
import NIOCore
import NIOHTTP1
import Testing
import Transport

@testable import Dashboard

/// A hub that knows one policy and one device; it checks tokens as the real one does.
private struct OneDeviceHub: HTTPResponder {
    static let key = Data("0123456789abcdef0123456789abcdef".utf8).base64EncodedString()

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        if request.path == ["sign-in"] {
            let body = (try? JSONValue(parsing: request.body.readableBytesView)) ?? .null
            guard body["name"] == "iothubowner", body["secret"]?.string == Self.key,
                let token = try? SASToken.sign(
                    resource: "hub.lan", key: Self.key, expiry: 1_800_040_000, policy: "iothubowner")
            else {
                return json(
                    ["Message": "ErrorCode:IotHubUnauthorizedAccess;This name and secret do not belong together."],
                    .unauthorized)
            }
            return json([
                "name": "iothubowner", "role": "policy", "may": ["read", "operate"], "token": .string(token.text),
            ])
        }
        guard let token = try? SASToken(parsing: request.headers.first(name: "authorization") ?? ""),
            token.policy == "iothubowner", let key = Data(base64Encoded: Self.key), token.isSigned(with: key)
        else { return HTTPResponse(status: .unauthorized) }
        switch request.path {
        case ["account"]: return json(["name": "iothubowner"])
        case ["fleet"]: return json(["devices": 1, "connected": 1, "late": 0, "failing": 0, "deployments": []])
        case ["fleet", "views"]: return json([])
        case ["fleet", "devices"]:
            if request.parameter("where") == "nonsense" {
                return json(
                    ["Message": "ErrorCode:ArgumentInvalid;The condition is invalid: line 1, column 9: no condition"],
                    .badRequest)
            }
            return json([
                "devices": [["deviceId": "<script>pi", "connectionState": "Connected", "status": "enabled"]],
                "next": .null, "previous": .null,
            ])
        case ["configurations"]: return json([])
        default: return json(["Message": "ErrorCode:DeviceNotFound;there is no such device"], .notFound)
        }
    }

    private func json(_ body: JSONValue, _ status: HTTPResponseStatus = .ok) -> HTTPResponse {
        HTTPResponse(status: status, body: .bytes(ByteBuffer(bytes: body.bytes())))
    }
}

@Suite struct DashboardResponderTests {
    let dashboard = DashboardResponder(
        DashboardHub(hostName: "hub.lan", service: OneDeviceHub()),
        now: { Date(timeIntervalSince1970: 1_800_000_000) })

    private func get(
        _ path: String..., query: [(name: String, value: String)] = [], cookie: String? = nil
    ) async throws -> HTTPResponse {
        var headers = HTTPHeaders()
        if let cookie { headers.add(name: "cookie", value: cookie) }
        return try #require(
            await dashboard.respond(
                to: HTTPRequest(method: .GET, target: "/", path: path, query: query, headers: headers)))
    }

    private func post(_ path: [String], _ form: String, cookie: String? = nil) async throws -> HTTPResponse {
        var headers = HTTPHeaders()
        if let cookie { headers.add(name: "cookie", value: cookie) }
        return try #require(
            await dashboard.respond(
                to: HTTPRequest(
                    method: .POST, target: "/", path: path, headers: headers, body: ByteBuffer(string: form))))
    }

    private func signIn() async throws -> String {
        let key = PercentCoding.encoded(OneDeviceHub.key)
        let response = try await post(["ui", "sign-in"], "username=iothubowner&password=\(key)")
        let cookie = try #require(response.headers.first(name: "set-cookie"))
        #expect(response.status == .seeOther)
        #expect(cookie.contains("HttpOnly") && cookie.contains("Secure") && cookie.contains("SameSite=Strict"))
        return String(cookie.prefix { $0 != ";" })
    }

    private func text(_ response: HTTPResponse) -> String {
        guard case .bytes(let buffer) = response.body else { return "" }
        return String(decoding: buffer.readableBytesView, as: UTF8.self)
    }

    @Test func `Without a session there is one form with username and password`() async throws {
        let page = text(try await get())
        #expect(page.matches(of: /<form/).count == 1)
        #expect(page.contains("name=\"username\"") && page.contains("name=\"password\""))
        #expect(try await get("ui", "deployments").headers.first(name: "location") == "/ui/sign-in")
    }

    @Test func `The key of a policy signs in and the fleet comes up, with names that cannot become markup`()
        async throws
    {
        let cookie = try await signIn()
        let response = try await get(cookie: cookie)
        #expect(response.headers.first(name: "content-security-policy")?.contains("default-src 'none'") == true)
        #expect(text(response).contains("&lt;script&gt;pi"))
        #expect(!text(response).contains("<script>pi"))
    }

    @Test func `A wrong key stays outside and is told so`() async throws {
        let response = try await post(["ui", "sign-in"], "username=iothubowner&password=AAAA")
        #expect(response.status == .unauthorized)
        #expect(text(response).contains("do not belong together"))
    }

    @Test func `A form that this session did not make does nothing`() async throws {
        let cookie = try await signIn()
        let response = try await post(["ui", "devices", "pi", "method"], "method=reboot&token=guess", cookie: cookie)
        #expect(response.status == .forbidden)
    }

    @Test func `Signing out ends the session`() async throws {
        let cookie = try await signIn()
        let page = text(try await get(cookie: cookie))
        let token = try #require(page.firstMatch(of: /name="token" value="([^"]+)"/)?.output.1)
        _ = try await post(["ui", "sign-out"], "token=\(token)", cookie: cookie)
        #expect(text(try await get(cookie: cookie)).contains("name=\"password\""))
    }

    @Test func `A filter that the hub refuses shows the reason and the position`() async throws {
        let cookie = try await signIn()
        let page = text(try await get(query: [(name: "where", value: "nonsense")], cookie: cookie))
        #expect(page.contains("line 1, column 9"))
    }

    @Test func `A condition comes through the address as forms write it, with a plus for each blank`() async throws {
        let cookie = try await signIn()
        var headers = HTTPHeaders()
        headers.add(name: "cookie", value: cookie)
        let request = HTTPRequest(
            method: .GET, target: "/?prefix=&where=tags.a+%3D+%271%2B1%27", path: [],
            query: [(name: "where", value: "tags.a+=+'1+1'")], headers: headers)
        let page = text(try #require(await dashboard.respond(to: request)))
        #expect(page.contains("value=\"tags.a = &#39;1+1&#39;\""))
    }

    @Test func `Paths of the service interface are left to it`() async throws {
        let request = HTTPRequest(method: .GET, target: "/devices", path: ["devices"])
        #expect(await dashboard.respond(to: request) == nil)
    }
}
