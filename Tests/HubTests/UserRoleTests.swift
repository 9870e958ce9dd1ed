import HubProtocol
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Testing
import Transport

@testable import Hub

@Suite struct UserRoleTests {
    private struct Doors {
        let bench: HubBench
        let accounts: AccountResponder
        let routing: RoutingResponder
        let security: SecurityResponder

        init() async throws {
            bench = try await HubBench()
            let hosts = [HubBench.hostName]
            accounts = AccountResponder(registry: bench.registry, hostNames: hosts)
            routing = RoutingResponder(registry: bench.registry, router: bench.router, hostNames: hosts)
            security = SecurityResponder(registry: bench.registry, hostNames: hosts)
            for role in UserRole.allCases {
                try await bench.registry.users.put(
                    role.rawValue, role: role, password: "password of \(role.rawValue)", replaces: nil,
                    now: bench.registry.now())
            }
        }

        func token(_ role: UserRole) async throws -> String {
            let body: JSONValue = [
                "name": .string(role.rawValue), "secret": .string("password of \(role.rawValue)"),
            ]
            let response = try #require(await accounts.answer(request(.POST, "sign-in", token: nil, body: body)))
            guard case .bytes(let buffer) = response.body else { return "" }
            return try #require(try JSONValue(parsing: buffer.readableBytesView)["token"]?.string)
        }

        func status(_ method: HTTPMethod, _ path: String, _ token: String) async throws -> UInt {
            let asked = request(method, path, token: token, body: ["name": 1])
            if let response = await routing.answer(asked) { return response.status.code }
            if let response = await security.answer(asked) { return response.status.code }
            return try #require(await accounts.answer(asked)).status.code
        }

        private func request(_ method: HTTPMethod, _ path: String, token: String?, body: JSONValue) -> HTTPRequest {
            var headers = HTTPHeaders()
            if let token { headers.add(name: "Authorization", value: token) }
            return HTTPRequest(
                method: method, target: "/\(path)", path: path.split(separator: "/").map(String.init),
                headers: headers, body: ByteBuffer(bytes: body.bytes()))
        }
    }

    static let changes: [(HTTPMethod, String)] = [
        (.PUT, "routing"), (.PUT, "certificates/plant"), (.DELETE, "certificates/plant"),
        (.POST, "certificates/plant/code"), (.POST, "certificates/plant/verify"), (.GET, "users"),
        (.PUT, "users/eve"), (.DELETE, "users/viewer"), (.GET, "policies"), (.PUT, "policies/fleet"),
        (.POST, "policies/iothubowner/rotate"),
    ]

    @Test func `Viewers and operators change neither routing nor authorities, users or policies`() async throws {
        let doors = try await Doors()
        for role in [UserRole.viewer, .operator] {
            let token = try await doors.token(role)
            for (method, path) in Self.changes {
                #expect(try await doors.status(method, path, token) == 401, "\(role) \(method) /\(path)")
            }
            #expect(try await doors.status(.GET, "routing", token) == 200)
            #expect(try await doors.status(.GET, "certificates", token) == 200)
        }
        await doors.bench.remove()
    }

    @Test func `Admins get past the door to routing, authorities and users, but see no keys of policies`() async throws
    {
        let doors = try await Doors()
        let token = try await doors.token(.admin)
        for (method, path) in Self.changes where !path.hasPrefix("policies") {
            #expect(try await doors.status(method, path, token) != 401, "\(method) /\(path)")
        }
        #expect(try await doors.status(.GET, "policies", token) == 401)
        await doors.bench.remove()
    }

    @Test func `A new password ends the sessions of its user`() async throws {
        let doors = try await Doors()
        let token = try await doors.token(.viewer)
        #expect(try await doors.status(.GET, "account", token) == 200)
        try await doors.bench.registry.users.put(
            "viewer", role: nil, password: "quite another one", replaces: true, now: doors.bench.registry.now())
        #expect(try await doors.status(.GET, "account", token) == 401)
        await doors.bench.remove()
    }
}
