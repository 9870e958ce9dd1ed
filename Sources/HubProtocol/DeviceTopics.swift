package import Model
package import NIOCore

/// What a device or module publishes (hub.md, section 6.2).
package enum UpwardTopic: Sendable, Equatable {
    case telemetry(bag: ByteBuffer)
    case twinGet(requestID: String)
    case reported(requestID: String, expectedVersion: Int?)
    case methodAnswer(status: Int, requestID: String)
}

/// What a hub publishes.
package enum DownwardTopic: Sendable, Equatable {
    case twinAnswer(status: Int, requestID: String, version: Int?)
    case desiredProperties(version: Int?)
    case method(name: String, requestID: String)
    case cloudToDevice(bag: ByteBuffer)
    case input(name: String, bag: ByteBuffer)
}

/// The topics of one identity, written once so that the path of telemetry compares bytes only.
package struct DeviceTopics: Sendable {
    /// `devices/{id}[/modules/{id}]/`
    private let own: [UInt8]
    /// `devices/{id}[/modules/{id}]/messages/events`
    private let telemetry: [UInt8]
    private let isModule: Bool
    private let deviceBoundTo: String

    package init(_ identity: IdentityKey) {
        let path =
            identity.moduleID.map { "devices/\(identity.deviceID)/modules/\($0)/" } ?? "devices/\(identity.deviceID)/"
        own = Array(path.utf8)
        telemetry = Array("\(path)messages/events".utf8)
        isModule = identity.isModule
        deviceBoundTo = "/\(path)messages/devicebound"
    }

    private static let twinGet = Array("$iothub/twin/GET/".utf8)
    private static let reported = Array("$iothub/twin/PATCH/properties/reported/".utf8)
    private static let methodAnswer = Array("$iothub/methods/res/".utf8)
    private static let twinAnswer = Array("$iothub/twin/res/".utf8)
    private static let desired = Array("$iothub/twin/PATCH/properties/desired/".utf8)
    private static let method = Array("$iothub/methods/POST/".utf8)

    // MARK: What the hub reads

    /// What a publish of this identity means; nil for a topic that it may not publish to.
    package func upward(_ topic: ByteBuffer) -> UpwardTopic? {
        if let bag = telemetryBag(topic) { return .telemetry(bag: bag) }
        let bytes = topic.readableBytesView
        if let rest = bytes.after(Self.twinGet) {
            return TopicQuery(rest).requestID.map { .twinGet(requestID: $0) }
        }
        if let rest = bytes.after(Self.reported) {
            let query = TopicQuery(rest)
            guard query.versionIsSound else { return nil }
            return query.requestID.map { .reported(requestID: $0, expectedVersion: query.version) }
        }
        if let rest = bytes.after(Self.methodAnswer) {
            let status = rest.prefix { $0 != UInt8(ascii: "/") }
            guard let status = Int(String(decoding: status, as: UTF8.self)) else { return nil }
            return TopicQuery(rest).requestID.map { .methodAnswer(status: status, requestID: $0) }
        }
        return nil
    }

    /// The property bag when the topic is this identity's telemetry topic, nil otherwise.
    package func telemetryBag(_ topic: ByteBuffer) -> ByteBuffer? {
        guard topic.readableBytes >= telemetry.count, topic.readableBytesView.starts(with: telemetry) else {
            return nil
        }
        var bag = topic
        bag.moveReaderIndex(forwardBy: telemetry.count)
        guard bag.readableBytes > 0 else { return bag }
        guard bag.readInteger(as: UInt8.self) == UInt8(ascii: "/") else { return nil }
        if bag.readableBytesView.last == UInt8(ascii: "/") { bag.moveWriterIndex(to: bag.writerIndex - 1) }
        return bag
    }

    /// What a subscription's filter means; nil for one that this identity may not have.
    package func subscription(_ filter: String) -> DeviceSubscription? {
        switch filter {
        case "$iothub/twin/res/#": return .twinAnswers
        case "$iothub/twin/PATCH/properties/desired/#": return .desiredProperties
        case "$iothub/methods/POST/#": return .methods
        default: break
        }
        let bytes = ByteBuffer(string: filter).readableBytesView
        guard let rest = bytes.after(own) else { return nil }
        switch String(decoding: rest, as: UTF8.self).lowercased() {
        case "messages/devicebound/#": return .cloudToDevice
        case "inputs/#" where isModule, "#" where isModule: return .inputs
        default: return nil
        }
    }

    // MARK: What the hub writes

    package func cloudToDeviceTopic(bag: ByteBuffer) -> ByteBuffer {
        var topic = ByteBuffer(bytes: own)
        topic.writeString("messages/devicebound/")
        // SDKs of C and of Node want `$.to` to be there.
        if !MessageProperties(bag: bag).system.keys.contains(.to) {
            topic.writeString("%24.to=\(PercentCoding.encoded(deviceBoundTo))")
            if bag.readableBytes > 0 { topic.writeString("&") }
        }
        topic.writeImmutableBuffer(bag)
        return topic
    }

    package func inputTopic(name: String, bag: ByteBuffer) -> ByteBuffer {
        var topic = ByteBuffer(bytes: own)
        topic.writeString("inputs/\(name)/")
        topic.writeImmutableBuffer(bag)
        return topic
    }

    package static func twinAnswerTopic(status: Int, requestID: String, version: Int?) -> ByteBuffer {
        ByteBuffer(
            string: "$iothub/twin/res/\(status)/?$rid=\(requestID)" + (version.map { "&$version=\($0)" } ?? ""))
    }

    package static func desiredPropertiesTopic(version: Int) -> ByteBuffer {
        ByteBuffer(string: "$iothub/twin/PATCH/properties/desired/?$version=\(version)")
    }

    package static func methodTopic(name: String, requestID: String) -> ByteBuffer {
        ByteBuffer(string: "$iothub/methods/POST/\(name)/?$rid=\(requestID)")
    }

    // MARK: What a client reads

    /// What a publish of the hub to this identity means; nil for a topic that is not known.
    package func downward(_ topic: ByteBuffer) -> DownwardTopic? {
        let bytes = topic.readableBytesView
        if let rest = bytes.after(Self.twinAnswer) {
            let status = rest.prefix { $0 != UInt8(ascii: "/") }
            let query = TopicQuery(rest)
            guard let status = Int(String(decoding: status, as: UTF8.self)), let requestID = query.requestID else {
                return nil
            }
            return .twinAnswer(status: status, requestID: requestID, version: query.version)
        }
        if let rest = bytes.after(Self.desired) { return .desiredProperties(version: TopicQuery(rest).version) }
        if let rest = bytes.after(Self.method) {
            let name = String(decoding: rest.prefix { $0 != UInt8(ascii: "/") }, as: UTF8.self)
            return TopicQuery(rest).requestID.map { .method(name: name, requestID: $0) }
        }
        guard let rest = bytes.after(own) else { return nil }
        let path = String(decoding: rest.prefix(21), as: UTF8.self).lowercased()
        if path.hasPrefix("messages/devicebound") {
            return .cloudToDevice(bag: ByteBuffer(bytes: rest.dropFirst(21)))
        }
        guard isModule, let tail = rest.after(Array("inputs/".utf8)) else { return nil }
        let name = tail.prefix { $0 != UInt8(ascii: "/") }
        return .input(
            name: String(decoding: name, as: UTF8.self), bag: ByteBuffer(bytes: tail.dropFirst(name.count + 1)))
    }

    // MARK: What a client writes

    package func telemetryTopic(bag: ByteBuffer) -> ByteBuffer {
        var topic = ByteBuffer()
        topic.reserveCapacity(telemetry.count + 1 + bag.readableBytes)
        topic.writeBytes(telemetry)
        topic.writeInteger(UInt8(ascii: "/"))
        topic.writeImmutableBuffer(bag)
        return topic
    }

    package static func twinGetTopic(requestID: String) -> ByteBuffer {
        ByteBuffer(string: "$iothub/twin/GET/?$rid=\(requestID)")
    }

    package static func reportedTopic(requestID: String, expectedVersion: Int?) -> ByteBuffer {
        ByteBuffer(
            string: "$iothub/twin/PATCH/properties/reported/?$rid=\(requestID)"
                + (expectedVersion.map { "&$version=\($0)" } ?? ""))
    }

    package static func methodAnswerTopic(status: Int, requestID: String) -> ByteBuffer {
        ByteBuffer(string: "$iothub/methods/res/\(status)/?$rid=\(requestID)")
    }

    /// The filter to subscribe to.
    package func filter(_ subscription: DeviceSubscription) -> String {
        switch subscription {
        case .twinAnswers: "$iothub/twin/res/#"
        case .desiredProperties: "$iothub/twin/PATCH/properties/desired/#"
        case .methods: "$iothub/methods/POST/#"
        case .cloudToDevice: String(decoding: own, as: UTF8.self) + "messages/devicebound/#"
        case .inputs: String(decoding: own, as: UTF8.self) + "inputs/#"
        }
    }
}

/// The `?$rid=…&$version=…` at the end of a topic. The request id is opaque and kept as it is written.
struct TopicQuery {
    private(set) var requestID: String?
    /// Of provisioning, percent-decoded.
    private(set) var operationID: String?
    private(set) var version: Int?
    private(set) var versionIsSound = true

    init(_ bytes: some Collection<UInt8>) {
        guard let mark = bytes.firstIndex(of: UInt8(ascii: "?")) else { return }
        for pair in bytes[bytes.index(after: mark)...].split(separator: UInt8(ascii: "&")) {
            guard let equals = pair.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let value = String(decoding: pair[pair.index(after: equals)...], as: UTF8.self)
            switch PercentCoding.decoded(pair[..<equals]) {
            case "$rid" where requestID == nil: requestID = value
            case "operationId" where operationID == nil: operationID = PercentCoding.decoded(value)
            case "$version":
                version = Int(PercentCoding.decoded(value))
                versionIsSound = version != nil
            default: break
            }
        }
    }
}

extension Collection<UInt8> {
    /// What follows the prefix; nil when this does not begin with it.
    func after(_ prefix: [UInt8]) -> SubSequence? {
        starts(with: prefix) ? dropFirst(prefix.count) : nil
    }
}
