import HubProtocol
import Model

/// A node as links name it (hub.md, sections 7.1 to 7.4).
enum AMQPAddress: Sendable, Hashable {
    /// `$cbs`, where tokens are put.
    case claims
    /// Telemetry when the peer sends, the inputs of a module when it receives.
    case deviceEvents(IdentityKey)
    case deviceBound(IdentityKey)
    case methods(IdentityKey)
    case twin(IdentityKey)
    /// Messages of services for devices.
    case toDevices
    case feedback
    case fileNotifications
    /// `messages/events` and what may follow: only the way to the entity of the events.
    case events(tail: [String])
    case management(entity: String?)
    case partition(entity: String, group: String, partition: String)

    /// Far more than any client writes.
    private static let maximumLength = 2048

    /// Reads a path, with or without scheme and host; ids are percent-encoded and keep their case, the other parts of the
    /// path have none. Nil for a node that is not known.
    init?(_ text: String) {
        guard text.utf8.count <= Self.maximumLength else { return nil }
        var path = text[...]
        if let scheme = path.firstRange(of: "://") {
            path = path[scheme.upperBound...].drop { $0 != "/" }
        }
        let parts = path.split(separator: "/").map { PercentCoding.decoded($0) }
        let words = parts.map { $0.lowercased() }
        switch words.first {
        case "devices"?: self.init(device: parts, words)
        case "messages"? where words.count > 1: self.init(messages: parts, words)
        case "$cbs"? where words.count == 1: self = .claims
        case "$management"? where words.count == 1: self = .management(entity: nil)
        case _? where words.count == 2 && words[1] == "$management": self = .management(entity: parts[0])
        case _? where words.count == 5 && words[1] == "consumergroups" && words[3] == "partitions":
            self = .partition(entity: parts[0], group: parts[2], partition: parts[4])
        default: return nil
        }
    }

    private init?(device parts: [String], _ words: [String]) {
        guard words.count >= 3, IdentityKey.isValid(parts[1]) else { return nil }
        var key = IdentityKey(device: parts[1])
        var rest = words[2...]
        if words[2] == "modules" {
            guard words.count >= 5, IdentityKey.isValid(parts[3]) else { return nil }
            key = IdentityKey(device: parts[1], module: parts[3])
            rest = words[4...]
        }
        switch Array(rest) {
        case ["messages", "events"]: self = .deviceEvents(key)
        case ["messages", "devicebound"]: self = .deviceBound(key)
        case ["methods", "devicebound"]: self = .methods(key)
        case ["twin"]: self = .twin(key)
        default: return nil
        }
    }

    private init?(messages parts: [String], _ words: [String]) {
        switch Array(words.dropFirst()) {
        case ["devicebound"]: self = .toDevices
        case ["servicebound", "feedback"]: self = .feedback
        case ["servicebound", "filenotifications"]: self = .fileNotifications
        case let path where path.first == "events": self = .events(tail: Array(parts.dropFirst(2)))
        default: return nil
        }
    }

    /// The device or module whose own node this is.
    var identity: IdentityKey? {
        switch self {
        case .deviceEvents(let key), .deviceBound(let key), .methods(let key), .twin(let key): key
        default: nil
        }
    }

    /// Reads the property `to` of a message for a device: `/devices/{id}[/modules/{id}]/messages/devicebound`.
    static func recipient(_ to: String) -> IdentityKey? {
        guard case .deviceBound(let key)? = AMQPAddress(to) else { return nil }
        return key
    }
}
