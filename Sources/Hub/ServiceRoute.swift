import Model
import NIOHTTP1
import Transport

/// What a path of the service interface names. Fixed words match without case, ids with it.
enum ServiceRoute: Sendable, Hashable {
    case devices
    case device(String)
    case query
    case regenerateKeys
    case modules(device: String)
    case module(IdentityKey)
    /// One of the calls of section 2.4; `call` in lower case.
    case scope(IdentityKey, call: String)
    case applyConfiguration(device: String)
    case twin(IdentityKey)
    case method(IdentityKey)
    case configurations
    case configuration(String)
    case testQueries
    case deviceStatistics
    case serviceStatistics
    /// The queue of messages for a device or module, as those who send see it.
    case deviceBound(IdentityKey)
    case purge(IdentityKey)
    case feedback(lockToken: String?, abandons: Bool)
    case job(String)
    case cancelJob(String)
    case queryJobs
    case createTransfer
    case transfers
    case transfer(String)
    case digitalTwin(String)
    case command(String, component: String?, device: String)

    private static let scopeCalls: Set<String> = [
        "devicesandmodulesindevicescope", "deviceandmoduleindevicescope", "devicesandmodulesintargetdevicescope",
        "getdeviceandmoduleonbehalfof",
    ]

    init?(_ request: HTTPRequest) {
        let path = request.path
        let words = path.map { $0.lowercased() }
        guard let first = words.first, let route = Self.find(first, words, path, request.method) else {
            return nil
        }
        self = route
    }

    private static func find(
        _ first: String, _ words: [String], _ path: [String], _ method: HTTPMethod
    ) -> ServiceRoute? {
        let isPost = method == .POST
        switch first {
        case "devices": return devices(words, path, isPost: isPost)
        case "twins": return twins(words, path)
        case "configurations":
            switch path.count {
            case 1: return .configurations
            case 2: return isPost && words[1] == "testqueries" ? .testQueries : .configuration(path[1])
            default: return nil
            }
        case "statistics" where words == ["statistics", "devices"]: return .deviceStatistics
        case "statistics" where words == ["statistics", "service"]: return .serviceStatistics
        case "messages" where words.count >= 3 && words[1] == "servicebound" && words[2] == "feedback":
            return feedback(words, path)
        case "jobs": return jobs(words, path, method)
        case "digitaltwins": return digitalTwins(words, path)
        default: return nil
        }
    }

    private static func devices(_ words: [String], _ path: [String], isPost: Bool) -> ServiceRoute? {
        switch path.count {
        case 1: return .devices
        case 2: return isPost && words[1] == "query" ? .query : .device(path[1])
        case 3:
            if isPost, words[1] == "keys", words[2] == "regenerate" { return .regenerateKeys }
            switch words[2] {
            case "modules": return .modules(device: path[1])
            case "applyconfigurationcontent": return .applyConfiguration(device: path[1])
            case "commands": return .purge(IdentityKey(device: path[1]))
            default: return nil
            }
        case 4 where words[2] == "messages" && words[3] == "devicebound":
            return .deviceBound(IdentityKey(device: path[1]))
        case 5 where words[2] == "modules" && words[4] == "commands":
            return .purge(IdentityKey(device: path[1], module: path[3]))
        case 6 where words[2] == "modules" && words[4] == "messages" && words[5] == "devicebound":
            return .deviceBound(IdentityKey(device: path[1], module: path[3]))
        case 4 where words[2] == "modules": return .module(IdentityKey(device: path[1], module: path[3]))
        case 5 where words[2] == "modules" && scopeCalls.contains(words[4]):
            return .scope(IdentityKey(device: path[1], module: path[3]), call: words[4])
        default: return nil
        }
    }

    private static func digitalTwins(_ words: [String], _ path: [String]) -> ServiceRoute? {
        switch path.count {
        case 2: .digitalTwin(path[1])
        case 4 where words[2] == "commands": .command(path[3], component: nil, device: path[1])
        case 6 where words[2] == "components" && words[4] == "commands":
            .command(path[5], component: path[3], device: path[1])
        default: nil
        }
    }

    private static func jobs(_ words: [String], _ path: [String], _ method: HTTPMethod) -> ServiceRoute? {
        guard words.count > 1 else { return .transfers }
        guard words[1] == "v2" else {
            guard words.count == 2 else { return nil }
            return method == .POST && words[1] == "create" ? .createTransfer : .transfer(path[1])
        }
        switch path.count {
        case 3: return method == .GET && words[2] == "query" ? .queryJobs : .job(path[2])
        case 4 where words[3] == "cancel": return .cancelJob(path[2])
        default: return nil
        }
    }

    private static func feedback(_ words: [String], _ path: [String]) -> ServiceRoute? {
        switch path.count {
        case 3: .feedback(lockToken: nil, abandons: false)
        case 4: .feedback(lockToken: path[3], abandons: false)
        case 5 where words[4] == "abandon": .feedback(lockToken: path[3], abandons: true)
        default: nil
        }
    }

    private static func twins(_ words: [String], _ path: [String]) -> ServiceRoute? {
        switch path.count {
        case 2: .twin(IdentityKey(device: path[1]))
        case 3 where words[2] == "methods": .method(IdentityKey(device: path[1]))
        case 4 where words[2] == "modules": .twin(IdentityKey(device: path[1], module: path[3]))
        case 5 where words[2] == "modules" && words[4] == "methods":
            .method(IdentityKey(device: path[1], module: path[3]))
        default: nil
        }
    }

    /// The form of its errors (hub.md, section 11).
    var envelope: ErrorEnvelope {
        switch self {
        case .modules, .module, .scope: .numbered
        case .method, .command: .nested
        default: .general
        }
    }
}

/// The three forms in which clients read errors.
enum ErrorEnvelope: Sendable {
    /// `{"Message":"ErrorCode:Name;text","ExceptionMessage":"Tracking ID:…"}`
    case general
    /// `{"errorCode":404010,"message":…}`
    case numbered
    /// The numbered form as a text inside `Message`.
    case nested
}
