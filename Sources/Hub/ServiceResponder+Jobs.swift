import JSONDocument
import Model
import NIOHTTP1
import Transport

extension ServiceResponder {
    /// Jobs on twins: `/jobs/v2/…` (hub.md, section 10.6).
    func carryOutJobs(
        _ route: ServiceRoute, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        try caller.require(.serviceConnect)
        switch (route, request.method) {
        case (.job(let id), .PUT):
            let job = try await registry.putJob(id, try RequestBody.json(request.body))
            jobs.wake()
            return ServiceAnswer.json(job)
        case (.job(let id), .GET): return ServiceAnswer.json(try await registry.job(id))
        case (.cancelJob(let id), .POST): return ServiceAnswer.json(try await registry.cancelJob(id))
        case (.queryJobs, .GET):
            let page = try await registry.jobs(
                kind: request.parameter("jobType"), status: request.parameter("jobStatus"),
                pageSize: request.headers.first(name: "x-ms-max-item-count").flatMap { Int($0) },
                continuation: request.continuation)
            var response = ServiceAnswer.json(.array(page.jobs))
            response.headers.add(name: "x-ms-item-type", value: "JobResponse")
            if let continuation = page.continuation {
                response.headers.add(name: "x-ms-continuation", value: continuation)
            }
            return response
        default: throw Self.wrongMethod(request)
        }
    }
}

extension HTTPRequest {
    /// The token of the page before; SDKs send an empty one for none, and some send it as a parameter.
    var continuation: String? {
        let text = headers.first(name: "x-ms-continuation") ?? parameter("continuationToken")
        return text.flatMap { $0.isEmpty ? nil : $0 }
    }
}
