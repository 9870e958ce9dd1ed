import DeploymentPlanning
import HubStore
package import JSONDocument
package import Model
import QueryLanguage

extension HubRegistry {
    package static let configurationLimit = 1000

    /// Every configuration as clients read it.
    package func configurations() async throws(HubError) -> [JSONValue] {
        let all = try await read { try $0.configurations() }
        var documents: [JSONValue] = []
        for configuration in all { documents.append(try await document(of: configuration)) }
        return documents
    }

    package func configuration(_ id: String) async throws(HubError) -> (json: JSONValue, etag: String) {
        let found = try await read { try $0.configuration(id) }
        guard let found else { throw Self.configurationNotFound(id) }
        return (try await document(of: found), found.etag)
    }

    static func configurationNotFound(_ id: String) -> HubError {
        HubError(.configurationNotFound, "There is no configuration '\(id)'.")
    }

    /// Creates (without a condition) or updates (with one) a configuration. When this returns, the first devices are
    /// served already; the others follow at once.
    package func putConfiguration(
        _ id: String, _ body: JSONValue, condition: EntityCondition
    ) async throws(HubError) -> (json: JSONValue, etag: String) {
        let (time, deployments) = (now(), deployments)
        let saved = try await write { transaction in
            let existing = try transaction.database.configuration(id)
            let configuration: Configuration
            switch (existing, condition) {
            case (nil, .none):
                guard try transaction.database.configurationCount() < Self.configurationLimit else {
                    throw HubError(
                        .configurationCountLimitExceeded,
                        "A hub has at most \(Self.configurationLimit) configurations.")
                }
                configuration = try Configuration(id: id, creating: body, now: time)
            case (nil, _): throw Self.configurationNotFound(id)
            case (_?, .none):
                throw HubError(.configurationAlreadyExists, "Configuration '\(id)' exists already.")
            case (var changed?, _):
                try Self.check(condition, changed)
                try changed.update(with: body, now: time)
                configuration = changed
            }
            try Self.check(configuration)
            try transaction.save(configuration)
            try Self.begin(deployments, in: transaction, at: time)
            transaction.afterCommit { [changes = deployments.relay.changes] in changes.tell(configuration: id) }
            return configuration
        }
        worker.wake()
        return (try await document(of: saved), saved.etag)
    }

    package func deleteConfiguration(_ id: String, condition: EntityCondition) async throws(HubError) {
        let (time, deployments) = (now(), deployments)
        try await write { transaction in
            guard let existing = try transaction.database.configuration(id) else {
                throw Self.configurationNotFound(id)
            }
            try Self.check(condition, existing)
            try transaction.removeConfiguration(id)
            try Self.begin(deployments, in: transaction, at: time)
            transaction.afterCommit { [changes = deployments.relay.changes] in changes.tell(configuration: id) }
        }
        worker.wake()
    }

    /// Small fleets are served before the answer, in the transaction of the change itself.
    private static func begin(
        _ deployments: DeploymentEvaluator, in transaction: WriteTransaction, at time: Timestamp
    ) throws {
        for _ in 0..<4 {
            guard try deployments.step(in: transaction, at: time, limit: EvaluationWorker.batch) else { return }
        }
    }

    private static func check(_ condition: EntityCondition, _ configuration: Configuration) throws(HubError) {
        guard condition.accepts(configuration.etag) else {
            throw HubError(
                .preconditionFailed, "'\(configuration.id)' has changed: read it again and use its etag.")
        }
    }

    private static func check(_ configuration: Configuration) throws(HubError) {
        if let mistake = mistake(inCondition: configuration.targetCondition, configuration.content.scope) {
            throw HubError(.invalidConfigurationTargetCondition, mistake)
        }
        for (name, query) in configuration.metricQueries {
            if let mistake = mistake(inMetric: query.string ?? "") {
                throw HubError(.invalidConfigurationCustomMetricsQuery, "The metric '\(name)' is invalid: \(mistake)")
            }
        }
    }

    private static func mistake(inCondition text: String, _ scope: TargetCondition.Scope) -> String? {
        do {
            _ = try TargetCondition(parsing: text, scope: scope)
            return nil
        } catch {
            return "Invalid targetCondition. \(error)"
        }
    }

    private static func mistake(inMetric text: String) -> String? {
        do {
            _ = try Query(parsing: text)
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// `POST /configurations/testQueries`: what is wrong with a condition and metric queries; nothing is an error here.
    package func testQueries(_ body: JSONValue) throws(HubError) -> JSONValue {
        guard body.object != nil else { throw HubError(.argumentInvalid, "The body is no JSON object.") }
        var errors = JSONObject()
        for (name, query) in body["customMetricQueries"]?.object ?? [:] {
            if let mistake = Self.mistake(inMetric: query.string ?? "") { errors[name] = .string(mistake) }
        }
        let condition = body["targetCondition"]?.string ?? ""
        let prefix = condition.drop { $0.isWhitespace }.prefix(5).lowercased()
        // Which kind is meant stands nowhere but in the prefix of module conditions.
        let mistake = Self.mistake(inCondition: condition, prefix.hasPrefix("from") ? .module : .device)
        return ["targetConditionError": .optional(mistake), "customMetricQueryErrors": .object(errors)]
    }

    /// Applies content to one device, now and for once.
    package func apply(_ body: JSONValue, to deviceID: String) async throws(HubError) {
        let (time, deployments) = (now(), deployments)
        try await write { transaction in
            guard try transaction.database.identity(IdentityKey(device: deviceID)) != nil else {
                throw try transaction.database.notFound(IdentityKey(device: deviceID))
            }
            try deployments.apply(try ConfigurationContent(body), to: deviceID, in: transaction, at: time)
        }
    }

    /// The configuration with its metrics as they are now.
    private func document(of configuration: Configuration) async throws(HubError) -> JSONValue {
        let queries = SystemMetrics.queries(of: configuration)
        let module: String? =
            switch configuration.content {
            case .edge: "$edgeAgent"
            case .device: ""
            case .module: nil
            }
        let id = configuration.id
        let counts = try await read { try $0.statusCounts(of: id, module: module) }
        var results: JSONObject = [
            "targetedCount": JSONValue(counts.targeted), "appliedCount": JSONValue(counts.applied),
        ]
        for (name, text) in queries where results[name] == nil { results[name] = try await rowCount(of: text) }
        var own = JSONObject()
        for (name, text) in configuration.metricQueries { own[name] = try await rowCount(of: text) }
        return configuration.json(systemResults: results, systemQueries: queries, metricResults: own)
    }

    private func rowCount(of text: JSONValue) async throws(HubError) -> JSONValue? {
        guard let query = try? Query(parsing: text.string ?? "") else { return nil }
        return JSONValue(try await count(query))
    }
}
