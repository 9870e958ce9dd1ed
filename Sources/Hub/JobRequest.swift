import HubStore
import JSONDocument
import Model
import QueryLanguage

extension JobRecord {
    /// The longest a job may run when it does not say, in seconds.
    private static let usualSeconds = 3600
    private static let longestSeconds = 30 * 86_400

    /// Reads the body of `PUT /jobs/v2/{id}`.
    ///
    /// - Throws: `HubError`: `argumentInvalid`, `argumentNull`.
    init(id: String, _ body: JSONValue, now: Timestamp) throws(HubError) {
        guard IdentityKey.isValid(id) else {
            throw HubError(.argumentInvalid, "A job id has 1 to 128 of the characters of a device id.")
        }
        guard body.object != nil else { throw HubError(.argumentInvalid, "The body is no JSON object.") }
        if let named = body["jobId"]?.string, named != id {
            throw HubError(.argumentInvalid, "The body speaks of job \(named), the path of \(id).")
        }
        guard let kind = Kind.allCases.first(where: { $0.rawValue.lowercased() == body["type"]?.string?.lowercased() })
        else { throw HubError(.argumentInvalid, "type is neither scheduleUpdateTwin nor scheduleDeviceMethod.") }
        guard let condition = body["queryCondition"]?.string, !condition.isEmpty else {
            throw HubError(.argumentNull, "queryCondition is missing; '*' is every device.")
        }
        _ = try Self.query(condition)
        var request: JSONObject = ["queryCondition": .string(condition)]
        switch kind {
        case .updateTwin:
            guard let update = body["updateTwin"], update.object != nil else {
                throw HubError(.argumentNull, "updateTwin is missing.")
            }
            guard ["*", "\"*\""].contains(update["etag"]?.string) else {
                throw HubError(.argumentInvalid, "updateTwin.etag must be '*'.")
            }
            var trial = TwinDocument()
            _ = try trial.patch(update, now: now)
            request["updateTwin"] = update
        case .method:
            guard let call = body["cloudToDeviceMethod"], call.object != nil else {
                throw HubError(.argumentNull, "cloudToDeviceMethod is missing.")
            }
            _ = try MethodCall(call)
            request["cloudToDeviceMethod"] = call
        }
        let start = try Self.start(body["startTime"]) ?? now
        let seconds = try Self.seconds(body["maxExecutionTimeInSeconds"])
        self.init(
            id: id, kind: kind, status: start > now ? .scheduled : .queued, created: now, start: start,
            seconds: seconds, request: request)
    }

    /// SDKs send an empty text for "at once".
    private static func start(_ value: JSONValue?) throws(HubError) -> Timestamp? {
        guard let value, !value.isNull, value != "" else { return nil }
        guard let time = value.string.flatMap({ Timestamp(parsing: $0) }) else {
            throw HubError(.argumentInvalid, "startTime is no time in RFC 3339.")
        }
        return time
    }

    private static func seconds(_ value: JSONValue?) throws(HubError) -> Int {
        guard let value, !value.isNull, value != 0 else { return usualSeconds }
        guard let seconds = value.int, (1...longestSeconds).contains(seconds) else {
            throw HubError(
                .argumentInvalid, "maxExecutionTimeInSeconds is not between 1 and \(longestSeconds).")
        }
        return seconds
    }

    /// `*`, the text behind WHERE, `FROM devices.modules WHERE …`, or a whole query.
    static func query(_ condition: String) throws(HubError) -> Query {
        let text = condition.drop { $0.isWhitespace }
        let word = text.prefix { $0.isLetter }.lowercased()
        let whole =
            switch word {
            case "select": String(text)
            case "from": "SELECT * \(text)"
            case "where": "SELECT * FROM devices \(text)"
            default:
                text.prefix { !$0.isWhitespace } == "*"
                    ? "SELECT * FROM devices" : "SELECT * FROM devices WHERE \(text)"
            }
        do {
            let query = try Query(parsing: whole)
            guard query.selectsWholeRows, query.source != .jobs else {
                throw HubError(.argumentInvalid, "queryCondition must choose devices or modules, without projection.")
            }
            return query
        } catch let error as QueryError {
            throw HubError(.argumentInvalid, "The queryCondition is invalid: \(error)")
        } catch let error as HubError {
            throw error
        } catch {
            throw HubError(.argumentInvalid, "The queryCondition is invalid.")
        }
    }

    func json(_ statistics: JobStatistics?) -> JSONValue {
        var json: JSONObject = ["jobId": .string(id)]
        json["queryCondition"] = request["queryCondition"]
        json["createdTime"] = .string(created.description)
        json["startTime"] = .string(start.description)
        if let ended { json["endTime"] = .string(ended.description) }
        json["maxExecutionTimeInSeconds"] = JSONValue(seconds)
        json["type"] = .string(kind.rawValue)
        for member in ["updateTwin", "cloudToDeviceMethod"] {
            if let value = request[member] { json[member] = value }
        }
        json["status"] = .string(status.rawValue)
        if let failure { json["failureReason"] = .string(failure) }
        if let statistics {
            json["deviceJobStatistics"] = [
                "deviceCount": JSONValue(statistics.total), "failedCount": JSONValue(statistics.failed),
                "succeededCount": JSONValue(statistics.succeeded), "runningCount": JSONValue(statistics.running),
                "pendingCount": JSONValue(statistics.pending),
            ]
        }
        return .object(json)
    }
}
