import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Transport

/// The fleet at a glance, for our own command and dashboard. The right `ServiceConnect` is needed.
///
/// - `GET /fleet`: counts: `{"devices","disabled","edge","connected","late","failing","lateAfterSeconds","deployments":
///   [{"id","priority","targeted","applied"}]}`. Late is an enabled device that was heard of before, is not connected, and
///   is silent for `late` seconds (600).
/// - `GET /fleet/devices`: one page of devices: `{"devices":[…],"next","previous"}`; `configurations` of an edge device has
///   those of its agent, too. `view` is `all`, `connected`, `late`,
///   `failing`, `edge` or `disabled`; `prefix` is how ids begin; or `where` is a condition of the query language. `limit`
///   goes to 200; `after` and `before` take `next` and `previous` of a page.
/// - `GET /fleet/views`, `PUT`, `DELETE /fleet/views/{name}`: conditions saved under a name, `{"condition"}`.
/// - `GET /changes`: what has changed, as server-sent events; `device` names one.
struct FleetResponder: Sendable {
    let registry: HubRegistry
    let hostNames: [String]

    /// Nil when the path is another.
    func answer(_ request: HTTPRequest) async -> HTTPResponse? {
        let path = request.path
        guard path.first == "fleet" || path == ["changes"] else { return nil }
        do throws(HubError) {
            let caller = try await ServiceCaller.find(for: request, in: registry, hostNames: hostNames)
            try caller.require(.serviceConnect)
            switch (path.count, path.last) {
            case (1, "changes"):
                try requireGet(request)
                return changes(request)
            case (1, _):
                try requireGet(request)
                return ServiceAnswer.json(try await summary(request))
            case (2, "devices"):
                try requireGet(request)
                return ServiceAnswer.json(try await page(request))
            case (2, "views"), (3, _):
                guard path[1] == "views" else { return nil }
                return try await views(request, caller)
            default: return nil
            }
        } catch {
            return ServiceAnswer.refusal(error, envelope: .general, at: registry.now())
        }
    }

    private func requireGet(_ request: HTTPRequest) throws(HubError) {
        guard request.method == .GET else { throw ServiceResponder.wrongMethod(request) }
    }

    private func changes(_ request: HTTPRequest) -> HTTPResponse {
        let device = request.parameter("device").flatMap { $0.isEmpty ? nil : $0 }
        let feed = registry.changes.feed(device: device)
        return HTTPResponse(
            status: .ok, headers: ["content-type": "text/event-stream", "cache-control": "no-store"],
            body: .stream(AsyncStream(unfolding: { await feed.next() })))
    }

    // MARK: Counts

    private func lateBefore(_ request: HTTPRequest) -> (seconds: Int, time: Timestamp) {
        let given = request.parameter("late").flatMap { Int($0) } ?? 600
        let seconds = min(max(given, 1), 366 * 86_400)
        return (seconds, Timestamp(ticks: registry.now().ticks - Int64(seconds) * 10_000_000))
    }

    private func summary(_ request: HTTPRequest) async throws(HubError) -> JSONValue {
        let late = lateBefore(request)
        let counts = try await registry.read { database in
            let all = try database.deviceCounts()
            let deployments = try database.configurations().map { configuration -> JSONValue in
                let module: String? =
                    switch configuration.content {
                    case .edge: "$edgeAgent"
                    case .device: ""
                    case .module: nil
                    }
                let statuses = try database.statusCounts(of: configuration.id, module: module)
                return [
                    "id": .string(configuration.id), "priority": JSONValue(configuration.priority),
                    "targeted": JSONValue(statuses.targeted), "applied": JSONValue(statuses.applied),
                ]
            }
            return (
                all: all, edge: try database.fleetCount(.edge), failing: try database.fleetCount(.failing),
                silent: try database.fleetCount(.late(before: late.time)), deployments: deployments
            )
        }
        let quiet = registry.activity.quietDeviceCount(before: late.time)
        return [
            "devices": JSONValue(counts.all.total), "disabled": JSONValue(counts.all.total - counts.all.enabled),
            "edge": JSONValue(counts.edge), "connected": JSONValue(registry.activity.connectedDeviceCount),
            "late": JSONValue(max(0, counts.silent - quiet)), "failing": JSONValue(counts.failing),
            "lateAfterSeconds": JSONValue(late.seconds), "deployments": .array(counts.deployments),
        ]
    }

    // MARK: Pages of devices

    private func page(_ request: HTTPRequest) async throws(HubError) -> JSONValue {
        let limit = min(max(request.parameter("limit").flatMap { Int($0) } ?? 50, 1), 200)
        func given(_ name: String) -> String? { request.parameter(name).flatMap { $0.isEmpty ? nil : $0 } }
        if let condition = given("where") {
            return try await registry.fleetPage(where: condition, continuation: given("after"), limit: limit)
        }
        let place = FleetPlace(
            prefix: given("prefix") ?? "", after: given("after"), before: given("before"), limit: limit)
        switch given("view") ?? "all" {
        case "all": return try await registry.fleetPage(.all, at: place)
        case "edge": return try await registry.fleetPage(.edge, at: place)
        case "disabled": return try await registry.fleetPage(.disabled, at: place)
        case "failing": return try await registry.fleetPage(.failing, at: place)
        case "late": return try await registry.fleetPage(.late(before: lateBefore(request).time), at: place)
        case "connected": return try await registry.connectedPage(at: place)
        case let other:
            throw HubError(
                .argumentInvalid,
                "There is no view '\(other)': all, connected, late, failing, edge or disabled.")
        }
    }

    // MARK: Saved views

    private static let viewLimit = 200

    private func views(_ request: HTTPRequest, _ caller: ServiceCaller) async throws(HubError) -> HTTPResponse {
        guard request.path.count == 3 else {
            try requireGet(request)
            let views = try await registry.read { try $0.savedViews() }
            return ServiceAnswer.json(
                .array(views.map { ["name": .string($0.name), "condition": .string($0.condition)] }))
        }
        if case .user(let user) = caller, user.role == .viewer {
            throw ServiceCaller.unauthorized("A user with the role viewer may not save views.")
        }
        let name = request.path[2]
        switch request.method {
        case .PUT:
            let condition = try RequestBody.json(request.body)["condition"]?.string ?? ""
            guard (1...64).contains(name.count), condition.utf8.count <= 4096 else {
                throw HubError(.argumentInvalid, "A view has a name of 1 to 64 characters and a condition of 4 KB.")
            }
            _ = try HubRegistry.parse(fleetCondition: condition)
            try await registry.write { transaction in
                guard try transaction.database.savedViews().count < Self.viewLimit else {
                    throw HubError(.argumentInvalid, "There are \(Self.viewLimit) views already.")
                }
                try transaction.saveView(name, condition: condition)
            }
            return ServiceAnswer.json(["name": .string(name), "condition": .string(condition)])
        case .DELETE:
            guard try await registry.write({ try $0.removeView(name) }) else {
                return ServiceAnswer.refusal(
                    HubError(.argumentInvalid, "There is no view '\(name)'."), status: 404, envelope: .general,
                    at: registry.now())
            }
            return ServiceAnswer.nothing()
        default: throw ServiceResponder.wrongMethod(request)
        }
    }
}
