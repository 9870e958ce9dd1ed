package import JSONDocument
import Logging
import ModuleReconciling

extension EdgeAgent {
    /// Answers a direct method of `$edgeAgent` (edge-runtime.md, B.11).
    package func answer(method: String, payload: JSONValue) async -> AgentMethodAnswer {
        do throws(AgentRequestError) {
            return AgentMethodAnswer(status: 200, payload: try await result(of: method.lowercased(), payload))
        } catch {
            return AgentMethodAnswer(status: error.status, payload: ["message": .string(error.message)])
        }
    }

    private func result(of method: String, _ payload: JSONValue) async throws(AgentRequestError) -> JSONValue {
        switch method {
        case "ping":
            return .null
        case "restartmodule":
            guard let id = try request(payload)["id"]?.string, !id.isEmpty else {
                throw AgentRequestError(status: 400, message: "\"id\" names no module")
            }
            try await restart(id)
            return .null
        case "getmodulelogs", "getlogs":
            return try await logs(try logRequest(try request(payload)))
        case "uploadmodulelogs", "uploadlogs":
            let request = try request(payload)
            let destination = try destination(request)
            let logs = try logRequest(request)
            return try begin { agent in try await agent.upload(logs, to: destination) }
        case "uploadsupportbundle":
            let request = try request(payload)
            let destination = try destination(request)
            let since = try LogFilter.time(request["since"], "since", clock.now())
            let until = try LogFilter.time(request["until"], "until", clock.now())
            let runtimeOnly = request["edgeRuntimeOnly"]?.bool ?? false
            return try begin { agent in
                guard let uploads = agent.configuration.uploads else { throw AgentUploadError.notOffered }
                let bundle = try await uploads.supportBundle(since: since, until: until, runtimeOnly: runtimeOnly)
                try await uploads.put(
                    bundle, named: agent.fileName("support-bundle", agent.clock.now(), "zip"),
                    contentType: "application/zip", to: destination)
            }
        case "gettaskstatus":
            guard let id = try request(payload)["correlationId"]?.string else {
                throw AgentRequestError(status: 400, message: "\"correlationId\" is missing")
            }
            return tasks.answer(id)
        default:
            throw AgentRequestError(status: 400, message: "the agent has no method \(method)")
        }
    }

    private func request(_ payload: JSONValue) throws(AgentRequestError) -> JSONObject {
        guard let object = payload.object else {
            throw AgentRequestError(status: 400, message: "the payload must be a JSON object")
        }
        guard let version = object["schemaVersion"]?.string, version == "1" || version.hasPrefix("1.") else {
            throw AgentRequestError(status: 400, message: "\"schemaVersion\" must be \"1.0\"")
        }
        return object
    }

    private func destination(_ request: JSONObject) throws(AgentRequestError) -> String {
        guard let text = request["sasUrl"]?.string, !text.isEmpty else {
            throw AgentRequestError(status: 400, message: "\"sasUrl\" is missing")
        }
        return text
    }

    /// Does something in the background, and answers at once where to ask for its end.
    private func begin(
        _ work: @escaping @Sendable (EdgeAgent) async throws -> Void
    ) throws(AgentRequestError) -> JSONValue {
        guard tasks.runningCount < 4 else {
            throw AgentRequestError(status: 503, message: "four tasks are under way; ask again when one has ended")
        }
        let id = Self.correlationID()
        tasks.begin(id)
        let answer = tasks.answer(id)
        later { await self.carryOut(id, work) }
        return answer
    }

    private func carryOut(_ id: String, _ work: @Sendable (EdgeAgent) async throws -> Void) async {
        tasks.set(id, .running)
        do {
            try await work(self)
            tasks.set(id, .completed)
        } catch {
            logger.warning("a task failed: \(error)")
            tasks.set(id, .failed, "\(error)")
        }
    }

    /// In the form of a UUID of version 4.
    private static func correlationID() -> String {
        var bytes = (0..<16).map { _ in UInt8.random(in: 0...255) }
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        let digits = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        var rest = digits[...]
        return [8, 4, 4, 4, 12].map { length in
            defer { rest = rest.dropFirst(length) }
            return String(rest.prefix(length))
        }.joined(separator: "-")
    }
}
