import DeviceGateway
import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Transport

/// Provisioning over HTTPS: what devices ask, and enrolments as services manage them (hub.md, section 10.7).
///
/// - `PUT /{scope}/registrations/{id}/register`, `GET …/{id}/operations/{operation}`, `POST …/{id}`.
/// - `GET|PUT|DELETE /enrollments/{id}` and `/enrollmentGroups/{id}`, `POST …/{id}/attestationmechanism`, `POST …/query`,
///   `POST` of several; `GET|DELETE /registrations/{id}`, `POST /registrations/{id}/query`.
/// - `GET /provisioning` (ours): the id scope.
struct ProvisioningResponder: Sendable {
    let desk: ProvisioningDesk

    /// Nil when the path is another's.
    func answer(_ request: HTTPRequest) async -> HTTPResponse? {
        let words = request.path.map { $0.lowercased() }
        guard let first = words.first else { return nil }
        do throws(HubError) {
            if words.count >= 3, words[1] == "registrations", request.path[0] == desk.scope || first.hasPrefix("0ne") {
                return try await device(request, words)
            }
            switch first {
            case "enrollments": return try await enrollments(.individual, request, words)
            case "enrollmentgroups": return try await enrollments(.group, request, words)
            case "registrations": return try await registrations(request, words)
            case "provisioning" where words.count == 1: return try await service(request)
            default: return nil
            }
        } catch {
            return ServiceAnswer.refusal(error, envelope: .numbered, at: desk.registry.now())
        }
    }

    // MARK: Devices

    private func device(_ request: HTTPRequest, _ words: [String]) async throws(HubError) -> HTTPResponse {
        let credential: IdentityClaim.Credential =
            if let token = request.headers.first(name: "authorization") {
                .sharedAccessSignature(token)
            } else if !request.peer.certificates.isEmpty {
                .certificates(request.peer.certificates)
            } else {
                .none
            }
        let claim = RegistrationClaim(
            scope: request.path[0], registrationID: request.path[2], credential: credential)
        switch (request.method, words.count) {
        case (.PUT, 4) where words[3] == "register":
            return Self.response(try await desk.register(claim, request.body))
        case (.GET, 5) where words[3] == "operations":
            return Self.response(try await desk.operation(request.path[4], of: claim))
        case (.POST, 3): return ServiceAnswer.json(try await desk.state(of: claim))
        default: throw ServiceResponder.wrongMethod(request)
        }
    }

    private static func response(_ answer: ProvisioningAnswer) -> HTTPResponse {
        var response = ServiceAnswer.json(
            Array(answer.body.readableBytesView), status: HTTPResponseStatus(statusCode: answer.status))
        if let seconds = answer.retryAfter { response.headers.add(name: "Retry-After", value: String(seconds)) }
        return response
    }

    // MARK: Services

    private func caller(_ request: HTTPRequest) async throws(HubError) -> ServiceCaller {
        try await ServiceCaller.find(for: request, in: desk.registry, hostNames: desk.hostNames)
    }

    /// For whoever may change enrolments or see their keys.
    private static func requireWriter(_ caller: ServiceCaller) throws(HubError) {
        try caller.require([.registryRead, .registryWrite])
        try caller.requireAdmin()
    }

    private func service(_ request: HTTPRequest) async throws(HubError) -> HTTPResponse {
        guard request.method == .GET else { throw ServiceResponder.wrongMethod(request) }
        try await caller(request).require(.registryRead)
        return ServiceAnswer.json([
            "idScope": .string(desk.scope), "deviceProvisioningHostName": .string(desk.hostNames.first ?? ""),
        ])
    }

    private func enrollments(
        _ kind: EnrollmentRecord.Kind, _ request: HTTPRequest, _ words: [String]
    ) async throws(HubError) -> HTTPResponse {
        let caller = try await caller(request)
        let id = request.path.count > 1 ? request.path[1] : ""
        let condition = EntityCondition(ifMatch: request.headers.first(name: "If-Match"))
        switch (request.method, words.count) {
        case (.POST, 1):
            try Self.requireWriter(caller)
            return ServiceAnswer.json(try await desk.bulkEnrollments(kind, try RequestBody.json(request.body)))
        case (.POST, 2) where words[1] == "query":
            try caller.require(.registryRead)
            try Self.checkQuery(request, of: kind)
            let (after, limit) = try Self.place(request)
            let found = try await desk.enrollments(kind, after: after, limit: limit)
            return Self.page(found.page, found.continuation, type: kind == .group ? "EnrollmentGroup" : "Enrollment")
        case (.GET, 2):
            try caller.require(.registryRead)
            let (enrollment, state) = try await desk.enrollment(kind, id)
            return Self.response(enrollment, showsKeys: false, state)
        case (.PUT, 2):
            try Self.requireWriter(caller)
            let wish = try EnrollmentRequest(try RequestBody.json(request.body), kind: kind, id: id)
            return Self.response(try await desk.put(wish, condition: condition), showsKeys: true, nil)
        case (.DELETE, 2):
            try Self.requireWriter(caller)
            try await desk.removeEnrollment(kind, id, condition: condition)
            return ServiceAnswer.nothing()
        case (.POST, 3) where words[2] == "attestationmechanism":
            try Self.requireWriter(caller)
            return ServiceAnswer.json(try await desk.enrollment(kind, id).0.attestationJSON(showsKeys: true))
        default: throw ServiceResponder.wrongMethod(request)
        }
    }

    private func registrations(_ request: HTTPRequest, _ words: [String]) async throws(HubError) -> HTTPResponse {
        let caller = try await caller(request)
        try caller.require(.registryRead)
        switch (request.method, words.count) {
        case (.GET, 2):
            let state = try await desk.registrationState(request.path[1])
            return ServiceAnswer.json(state, etag: state["etag"]?.string)
        case (.DELETE, 2):
            try Self.requireWriter(caller)
            let condition = EntityCondition(ifMatch: request.headers.first(name: "If-Match"))
            try await desk.removeRegistration(request.path[1], condition: condition)
            return ServiceAnswer.nothing()
        case (.POST, 3) where words[2] == "query":
            let (after, limit) = try Self.place(request)
            let found = try await desk.registrations(of: request.path[1], after: after, limit: limit)
            return Self.page(found.page, found.continuation, type: "DeviceRegistration")
        default: throw ServiceResponder.wrongMethod(request)
        }
    }

    private static func response(_ enrollment: Enrollment, showsKeys: Bool, _ state: JSONValue?) -> HTTPResponse {
        ServiceAnswer.json(
            enrollment.json(showsKeys: showsKeys, state: state), etag: EntityTag.decimal(enrollment.record.etag))
    }

    // MARK: Pages

    private static func checkQuery(_ request: HTTPRequest, of kind: EnrollmentRecord.Kind) throws(HubError) {
        let text = try RequestBody.json(request.body)["query"]?.string ?? ""
        let words = text.lowercased().split(whereSeparator: { " \t\r\n;".contains($0) })
        let table = kind == .group ? "enrollmentgroups" : "enrollments"
        guard words.isEmpty || words == ["select", "*", "from"] + [Substring(table)] else {
            throw HubError(.argumentInvalid, "The one query here is SELECT * FROM \(table).")
        }
    }

    private static func place(_ request: HTTPRequest) throws(HubError) -> (after: String, limit: Int) {
        let after = request.headers.first(name: "x-ms-continuation") ?? ""
        guard after.isEmpty || Enrollment.isValidID(after) else {
            throw HubError(.argumentInvalid, "The continuation is none that this hub has given.")
        }
        let wanted = request.headers.first(name: "x-ms-max-item-count").flatMap { Int($0) } ?? 100
        return (after, (1...1000).contains(wanted) ? wanted : 100)
    }

    private static func page(_ rows: [JSONValue], _ continuation: String?, type: String) -> HTTPResponse {
        var response = ServiceAnswer.json(.array(rows))
        response.headers.add(name: "x-ms-item-type", value: type)
        if let continuation { response.headers.add(name: "x-ms-continuation", value: continuation) }
        return response
    }
}
