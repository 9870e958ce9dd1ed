import FoundationEssentials
import HubStore
import JSONDocument
import Logging
import Model
import NIOCore
import NIOHTTP1
package import Transport

/// The REST interface of the hub's service side (hub.md, section 1).
package struct ServiceResponder: HTTPResponder {
    let registry: HubRegistry
    let methods: any MethodInvoker
    let hostNames: [String]
    /// Runs from the first `wake`; whoever made the responder shuts it down.
    package let jobs: JobRunner
    package let transfers: TransferRunner
    let makeID: @Sendable () -> String

    /// - Parameters:
    ///   - hostNames: the names by which tokens may call this hub.
    ///   - transferFolder: where exports and imports have their files; nil for none.
    ///   - makeID: an id for an export or import.
    package init(
        registry: HubRegistry, methods: any MethodInvoker, hostNames: [String], transferFolder: String? = nil,
        makeID: @escaping @Sendable () -> String = { UUID().uuidString.lowercased() }
    ) {
        self.registry = registry
        self.methods = methods
        self.hostNames = hostNames
        self.makeID = makeID
        jobs = JobRunner(registry: registry, methods: methods)
        transfers = TransferRunner(registry: registry, folder: transferFolder.map { TransferFolder(path: $0) })
    }

    package func respond(to request: HTTPRequest) async -> HTTPResponse {
        if let response = await answer(request) { return response }
        let error = HubError(.genericBadRequest, "There is no \(request.method) of this path.")
        return ServiceAnswer.refusal(error, status: 404, envelope: .general, at: registry.now())
    }

    /// Nil when the path is none of the service interface.
    package func answer(_ request: HTTPRequest) async -> HTTPResponse? {
        guard let route = ServiceRoute(request) else { return nil }
        var response: HTTPResponse
        do {
            let caller = try await ServiceCaller.find(for: request, in: registry, hostNames: hostNames)
            try checkVersion(of: request)
            try caller.requireRole(for: route, request.method)
            response = try await carryOut(route, request, caller)
            caller.veilKeys(in: &response, of: route)
        } catch {
            response = ServiceAnswer.refusal(error, envelope: route.envelope, at: registry.now())
        }
        if let id = request.headers.first(name: "x-ms-client-request-id") {
            response.headers.replaceOrAdd(name: "x-ms-client-request-id", value: id)
        }
        return response
    }

    /// `2021-04-12` or `2017-11-08-preview`; any date that looks like one is good.
    private func checkVersion(of request: HTTPRequest) throws(HubError) {
        let text = request.parameter("api-version") ?? ""
        let date = text.hasSuffix("-preview") ? text.dropLast("-preview".count) : Substring(text)
        let parts = date.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.count) == [4, 2, 2], parts.joined().utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            throw HubError(.invalidProtocolVersion, "The parameter api-version is missing or no version: '\(text)'.")
        }
    }

    private func carryOut(
        _ route: ServiceRoute, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        switch route {
        case .devices, .device, .query, .regenerateKeys, .modules, .module, .deviceStatistics, .scope:
            try await carryOutRegistry(route, request, caller)
        case .twin(let key):
            try await twin(key, request, caller)
        case .method(let key):
            try await method(key, request, caller)
        case .serviceStatistics:
            try await serviceStatistics(request, caller)
        case .applyConfiguration(let device):
            try await applyConfiguration(device, request, caller)
        case .configurations, .configuration, .testQueries:
            try await carryOutConfigurations(route, request, caller)
        case .deviceBound(let key): try await send(to: key, request, caller)
        case .purge(let key): try await purge(key, request, caller)
        case .feedback(let lockToken, let abandons):
            try await feedback(lockToken, abandons: abandons, request, caller)
        case .job, .cancelJob, .queryJobs: try await carryOutJobs(route, request, caller)
        case .digitalTwin(let id): try await digitalTwin(id, request, caller)
        case .command(let name, let component, let device):
            try await command(name, of: component, on: device, request, caller)
        case .createTransfer, .transfers, .transfer: try await carryOutTransfers(route, request, caller)
        }
    }

    func condition(_ request: HTTPRequest) -> EntityCondition {
        EntityCondition(ifMatch: request.headers.first(name: "If-Match"))
    }

    static func wrongMethod(_ request: HTTPRequest) -> HubError {
        HubError(.genericMethodNotAllowed, "\(request.method) is not possible here.")
    }
}
