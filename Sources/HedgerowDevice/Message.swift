import FoundationEssentials
import HubProtocol
import NIOCore

/// A message that a device or module sends or receives.
public struct Message: Sendable, Hashable {
    public var body: [UInt8]
    /// Application properties, which routes and consumers see without looking into the body.
    public var properties: [String: String]
    public var id: String?
    public var correlationID: String?
    /// For example `application/json`: conditions on `$body` need it together with `contentEncoding`.
    public var contentType: String?
    /// For example `utf-8`.
    public var contentEncoding: String?

    public init(
        _ body: [UInt8], properties: [String: String] = [:], id: String? = nil, correlationID: String? = nil,
        contentType: String? = nil, contentEncoding: String? = nil
    ) {
        self.body = body
        self.properties = properties
        self.id = id
        self.correlationID = correlationID
        self.contentType = contentType
        self.contentEncoding = contentEncoding
    }

    /// A message whose body is JSON, and says so.
    public init(
        json value: some Encodable, properties: [String: String] = [:], id: String? = nil, correlationID: String? = nil
    ) throws {
        self.init(
            Array(try JSONEncoder().encode(value)), properties: properties, id: id, correlationID: correlationID,
            contentType: "application/json", contentEncoding: "utf-8")
    }

    /// Reads the body as JSON.
    public func decoded<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value {
        try JSONDecoder().decode(type, from: Data(body))
    }

    /// The body as text; bytes that are no UTF-8 show as replacement characters.
    public var text: String { String(decoding: body, as: UTF8.self) }
}

extension Message {
    func event(output: String?) -> DeviceEvent {
        var bag = MessageProperties(
            application: properties.sorted { $0.key < $1.key }.map { .init(name: $0.key, value: $0.value) })
        bag.system[.messageID] = id
        bag.system[.correlationID] = correlationID
        bag.system[.contentType] = contentType
        bag.system[.contentEncoding] = contentEncoding
        bag.system[.outputName] = output
        return DeviceEvent(propertyBag: bag.bag(), body: ByteBuffer(bytes: body))
    }

    init(_ event: DeviceEvent) {
        let bag = MessageProperties(bag: event.propertyBag)
        self.init(
            Array(event.body.readableBytesView),
            properties: Dictionary(bag.application.map { ($0.name, $0.value ?? "") }, uniquingKeysWith: { $1 }),
            id: bag.system[.messageID], correlationID: bag.system[.correlationID],
            contentType: bag.system[.contentType], contentEncoding: bag.system[.contentEncoding])
    }
}

/// A message for this device or module.
public struct ReceivedMessage: Sendable {
    public enum Source: Sendable, Hashable {
        /// The hub, by whoever may send to devices.
        case cloud
        /// An input of this module, by a route of the edge hub.
        case input(String)
    }

    public let message: Message
    public let source: Source
    let acknowledge: @Sendable () -> Void

    /// Tells the hub that the message is dealt with; until then it comes again on the next connection.
    public func complete() { acknowledge() }
}
