import HubProtocol
import HubStore
import JSONDocument
import Logging
import Model
import NIOCore
import NIOHTTP1
import Telemetry
import Testing
import Transport

@testable import DeviceGateway
@testable import Hub

/// Who may do what (hub.md, section 9.1), asked of everything that answers on the HTTPS port.
@Suite struct AuthorizationTests {
    private static let read: AccessRights = .registryRead
    private static let write: AccessRights = [.registryRead, .registryWrite]
    private static let service: AccessRights = .serviceConnect
    private static let all: AccessRights = [.registryRead, .registryWrite, .serviceConnect, .deviceConnect]

    private struct Operation: Sendable {
        let method: HTTPMethod
        let path: String
        let rights: AccessRights
        init(_ method: HTTPMethod, _ path: String, _ rights: AccessRights) {
            (self.method, self.path, self.rights) = (method, path, rights)
        }
    }

    /// Everything, what removes last.
    private static let operations: [Operation] = [
        .init(.GET, "/devices", read), .init(.POST, "/devices", write), .init(.GET, "/devices/gw", read),
        .init(.PUT, "/devices/gw", write), .init(.POST, "/devices/query", service),
        .init(.POST, "/devices/keys/regenerate", write), .init(.GET, "/devices/gw/modules", read),
        .init(.GET, "/devices/gw/modules/m", read), .init(.PUT, "/devices/gw/modules/m", write),
        .init(.GET, "/statistics/devices", read), .init(.GET, "/statistics/service", service),
        .init(.GET, "/twins/gw", service), .init(.PATCH, "/twins/gw", service), .init(.PUT, "/twins/gw", service),
        .init(.GET, "/twins/gw/modules/m", service), .init(.PATCH, "/twins/gw/modules/m", service),
        .init(.PUT, "/twins/gw/modules/m", service), .init(.POST, "/twins/gw/methods", service),
        .init(.POST, "/twins/gw/modules/m/methods", service), .init(.GET, "/configurations", read),
        .init(.GET, "/configurations/c", read), .init(.PUT, "/configurations/c", write),
        .init(.POST, "/configurations/testQueries", read), .init(.DELETE, "/configurations/c", write),
        .init(.POST, "/devices/gw/applyConfigurationContent", write),
        .init(.POST, "/devices/gw/messages/deviceBound", service),
        .init(.POST, "/devices/gw/modules/m/messages/deviceBound", service),
        .init(.DELETE, "/devices/gw/commands", service), .init(.DELETE, "/devices/gw/modules/m/commands", service),
        .init(.GET, "/messages/serviceBound/feedback", service),
        .init(.DELETE, "/messages/serviceBound/feedback/x", service),
        .init(.POST, "/messages/serviceBound/feedback/x/abandon", service),
        .init(.PUT, "/jobs/v2/j", service), .init(.GET, "/jobs/v2/j", service),
        .init(.POST, "/jobs/v2/j/cancel", service), .init(.GET, "/jobs/v2/query", service),
        .init(.POST, "/jobs/create", write), .init(.GET, "/jobs", write), .init(.GET, "/jobs/t", write),
        .init(.DELETE, "/jobs/t", write), .init(.GET, "/digitaltwins/gw", service),
        .init(.PATCH, "/digitaltwins/gw", service), .init(.POST, "/digitaltwins/gw/commands/c", service),
        .init(.POST, "/digitaltwins/gw/components/p/commands/c", service),
        .init(.GET, "/events?timeout=0", service), .init(.GET, "/routing", read),
        .init(.PUT, "/routing", [.registryRead, .registryWrite, .serviceConnect]),
        .init(.GET, "/routing/status", read), .init(.POST, "/routing/test", read), .init(.GET, "/policies", all),
        .init(.GET, "/policies/service", all), .init(.PUT, "/policies/extra", all),
        .init(.POST, "/policies/extra/rotate", all), .init(.DELETE, "/policies/extra", all),
        .init(.GET, "/certificates", read), .init(.GET, "/certificates/f", read),
        .init(.PUT, "/certificates/f", write), .init(.POST, "/certificates/f/code", write),
        .init(.POST, "/certificates/f/verify", write), .init(.DELETE, "/certificates/f", write),
        .init(.GET, "/provisioning", read), .init(.POST, "/enrollments/query", read),
        .init(.GET, "/enrollments/e", read), .init(.PUT, "/enrollments/e", write),
        .init(.POST, "/enrollments/e/attestationmechanism", write), .init(.DELETE, "/enrollments/e", write),
        .init(.POST, "/enrollments", write), .init(.POST, "/enrollmentGroups/query", read),
        .init(.GET, "/enrollmentGroups/e", read), .init(.PUT, "/enrollmentGroups/e", write),
        .init(.POST, "/enrollmentGroups/e/attestationmechanism", write),
        .init(.DELETE, "/enrollmentGroups/e", write), .init(.GET, "/registrations/r", read),
        .init(.POST, "/registrations/e/query", read), .init(.DELETE, "/registrations/r", write),
        .init(.POST, "/devices/gw/messages/events", .deviceConnect),
        .init(.GET, "/devices/gw/messages/deviceBound", .deviceConnect),
        .init(.DELETE, "/devices/gw/messages/deviceBound/x", .deviceConnect),
        .init(.POST, "/devices/gw/messages/deviceBound/x/abandon", .deviceConnect),
        .init(.POST, "/devices/gw/modules/m/messages/events", .deviceConnect),
        .init(.DELETE, "/devices/gw/modules/m", write), .init(.DELETE, "/devices/gw", write),
    ]

    /// What answers with the keys of a scope, to the edge device and its `$edgeHub` alone.
    private static func scopeCalls(_ module: String) -> [(HTTPMethod, String)] {
        [
            (.GET, "devicesAndModulesInDeviceScope"),
            (.GET, "deviceAndModuleInDeviceScope?targetDeviceId=gw"),
            (.POST, "devicesAndModulesInTargetDeviceScope"), (.POST, "getDeviceAndModuleOnBehalfOf"),
        ].map { ($0, "/devices/gw/modules/\(module)/\($1)") }
    }

    private struct Bench: Sendable {
        let hub: HubBench
        let router: HubRouter
        let keys: [IdentityKey: String]

        func ask(_ method: HTTPMethod, _ target: String, _ token: String?, ifMatch: String? = nil) async throws -> Int {
            let whole = "\(target)\(target.contains("?") ? "&" : "?")api-version=2021-04-12"
            let parsed = try #require(HTTPTarget(parsing: whole))
            var headers = HTTPHeaders()
            if let token { headers.add(name: "Authorization", value: token) }
            if let ifMatch { headers.add(name: "If-Match", value: ifMatch) }
            return Int(
                await router.respond(
                    to: HTTPRequest(
                        method: method, target: whole, path: parsed.path, query: parsed.query, headers: headers,
                        body: ByteBuffer(string: "{}"))
                ).status.code)
        }

        func policyToken(_ name: String, _ path: String = "") throws -> String {
            let policy = try #require(hub.registry.policies[name])
            return try SASToken.sign(
                resource: HubBench.hostName + path, key: policy.primaryKey, expiry: 9_999_999_999, policy: name
            ).text
        }

        func token(_ key: IdentityKey, signedBy other: IdentityKey? = nil) throws -> String {
            try hub.token(key, try #require(keys[other ?? key]))
        }
    }

    private static let gateway = IdentityKey(device: "gw")
    private static let module = IdentityKey(device: "gw", module: "m")
    private static let other = IdentityKey(device: "other")

    private func withBench(_ body: (Bench) async throws -> Void) async throws {
        let hub = try await HubBench()
        var keys: [IdentityKey: String] = [:]
        keys[Self.gateway] = try await hub.register(Self.gateway, ["capabilities": ["iotEdge": true]])
        keys[Self.module] = try await hub.register(Self.module)
        keys[Self.other] = try await hub.register(Self.other)
        let names = [HubBench.hostName]
        let service = ServiceResponder(registry: hub.registry, methods: hub.backend, hostNames: names)
        let provisioning = try await ProvisioningDesk(
            registry: hub.registry, hostNames: names, metrics: MetricsRegistry())
        let router = HubRouter(
            service: service, devices: DeviceHTTPHead(backend: hub.backend, mailbox: hub.backend),
            events: EventResponder(registry: hub.registry, events: hub.events, hostNames: names),
            routing: RoutingResponder(registry: hub.registry, router: hub.router, hostNames: names),
            security: SecurityResponder(registry: hub.registry, hostNames: names),
            provisioning: ProvisioningResponder(desk: provisioning), files: nil,
            accounts: AccountResponder(registry: hub.registry, hostNames: names),
            fleet: FleetResponder(registry: hub.registry, hostNames: names), metrics: MetricsRegistry(),
            readiness: HubReadiness(registry: hub.registry, events: hub.events),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, pages: nil)
        var failure: (any Error)?
        do { try await body(Bench(hub: hub, router: router, keys: keys)) } catch { failure = error }
        await service.jobs.shutDown()
        await service.transfers.shutDown()
        await hub.remove()
        if let failure { throw failure }
    }

    @Test(arguments: AccessPolicy.defaults.map(\.name))
    func `A policy opens what its rights are for, and nothing else`(_ name: String) async throws {
        let rights = try #require(AccessPolicy.defaults.first { $0.name == name }).rights
        try await withBench { (bench: Bench) async throws in
            let token = try bench.policyToken(name)
            for operation in Self.operations {
                let status = try await bench.ask(operation.method, operation.path, token, ifMatch: "*")
                let isOpen = rights.isSuperset(of: operation.rights)
                #expect((status != 401) == isOpen, "\(name): \(operation.method) \(operation.path): \(status)")
                #expect(status != 405 && status < 500, "\(name): \(operation.method) \(operation.path): \(status)")
            }
            for (method, path) in Self.scopeCalls("%24edgeHub") + Self.scopeCalls("m") {
                #expect(try await bench.ask(method, path, token) == 401, "\(name): \(path)")
            }
        }
    }

    @Test func `A device reaches what is its own, and a module or another device nothing of it`() async throws {
        try await withBench { (bench: Bench) async throws in
            let strangers = [
                try bench.token(Self.other), try bench.token(Self.gateway, signedBy: Self.other),
                try bench.token(Self.gateway, signedBy: Self.module),
                try bench.policyToken("iothubowner", "/devices/other"),
            ]
            let module = try bench.token(Self.module)
            for operation in Self.operations {
                let (method, path) = (operation.method, operation.path)
                #expect(try await bench.ask(method, path, nil) == 401, "nobody: \(method) \(path)")
                for stranger in strangers {
                    #expect(try await bench.ask(method, path, stranger) == 401, "stranger: \(method) \(path)")
                }
                let isOwn = path == "/devices/gw/modules/m/messages/events"
                let status = try await bench.ask(method, path, module)
                #expect((status != 401) == isOwn, "module: \(method) \(path)")
            }
            let calls = Self.scopeCalls("%24edgeHub") + Self.scopeCalls("m")
            for (method, path) in calls {
                for token in strangers + [module] {
                    #expect(try await bench.ask(method, path, token) == 401, "\(path)")
                }
            }
            let own = try bench.token(Self.gateway)
            let open = ["/devices/gw/messages/", "/devices/gw/modules"]
            for operation in Self.operations {
                let (method, path) = (operation.method, operation.path)
                let isOwn =
                    open.contains { path.hasPrefix($0) } && operation.rights != Self.service
                    && path != "/devices/gw/modules/m/messages/events"
                let status = try await bench.ask(method, path, own)
                #expect((status != 401) == isOwn, "device: \(method) \(path)")
            }
        }
    }

    @Test func `What is disabled or removed loses its connections at once and opens nothing`() async throws {
        try await withBench { (bench: Bench) async throws in
            let device = try await bench.hub.connect(Self.gateway, try #require(bench.keys[Self.gateway]))
            let module = try await bench.hub.connect(Self.module, try #require(bench.keys[Self.module]))
            let other = try await bench.hub.connect(Self.other, try #require(bench.keys[Self.other]))
            let registry = bench.hub.registry
            _ = try await registry.put(
                IdentityRequest(["status": "disabled"], for: Self.gateway), condition: EntityCondition(ifMatch: "*"))
            #expect(device.closures == [.identityDisabledOrRemoved])
            #expect(module.closures == [.identityDisabledOrRemoved])
            #expect(other.closures.isEmpty)
            let (own, its) = (try bench.token(Self.gateway), try bench.token(Self.module))
            #expect(try await bench.ask(.GET, "/devices/gw/modules", own) == 401)
            for (path, token) in [("", own), ("/modules/m", its)] {
                let status = try await bench.ask(.POST, "/devices/gw\(path)/messages/events", token)
                #expect((400..<500).contains(status))
            }
            try await registry.delete(Self.other, condition: EntityCondition(ifMatch: "*"))
            #expect(other.closures == [.identityDisabledOrRemoved])
            let removed = try await bench.ask(.POST, "/devices/other/messages/events", try bench.token(Self.other))
            #expect((400..<500).contains(removed))
        }
    }

    @Test func `Anybody may ask whether the hub is ready, and it is not once its log is closed`() async throws {
        try await withBench { (bench: Bench) async throws in
            #expect(try await bench.ask(.GET, "/health", nil) == 200)
            #expect(try await bench.ask(.GET, "/ready", nil) == 200)
            await bench.hub.events.close()
            #expect(try await bench.ask(.GET, "/ready", nil) == 503)
        }
    }
}
