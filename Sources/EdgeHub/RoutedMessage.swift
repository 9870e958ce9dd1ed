import HubProtocol
import Model
import NIOCore
import QueryLanguage

/// A message on its way through the routes: taken apart only as far as they ask.
struct RoutedMessage: Sendable {
    let event: DeviceEvent
    let sender: IdentityKey
    /// As FROM names it: `/messages/modules/m/outputs/o`.
    let source: String
    /// The output of the module that sent it; empty for none.
    let output: String

    /// System properties that the edge hub itself has set, by the names of conditions.
    private let ownProperties: [(name: String, value: String?)]

    static let twinChangeSource = "/twinChangeNotifications"

    /// A message that a module or leaf device has sent.
    init(_ event: DeviceEvent, from sender: IdentityKey) {
        self.event = event
        self.sender = sender
        ownProperties = []
        guard let module = sender.moduleID else {
            source = "/messages"
            output = ""
            return
        }
        output = PropertyBag.outputName(event.propertyBag) ?? ""
        source =
            output.isEmpty ? "/messages/modules/\(module)" : "/messages/modules/\(module)/outputs/\(output)"
    }

    /// A reported patch as a message (edge-runtime.md, D.11).
    ///
    /// - Parameters:
    ///   - sender: the edge hub, in whose name it travels.
    ///   - reporter: whose twin changed.
    init(_ event: DeviceEvent, from sender: IdentityKey, reportedBy reporter: IdentityKey) {
        self.event = event
        self.sender = sender
        source = Self.twinChangeSource
        output = ""
        ownProperties = [
            ("messageType", "twinChangeNotification"), ("rpSenderDeviceId", reporter.deviceID),
            ("rpSenderModuleId", reporter.moduleID),
        ]
    }

    /// What conditions see of the message.
    func routable() -> RoutableMessage {
        let properties = MessageProperties(bag: event.propertyBag)
        var system: [(name: String, value: String?)] = []
        for (property, value) in properties.system {
            if let name = Self.names[property] { system.append((name, value)) }
        }
        // What the sender says of itself does not count.
        system.append(("connectionDeviceId", sender.deviceID))
        if let module = sender.moduleID { system.append(("connectionModuleId", module)) }
        system.append(("edgeHubOriginInterface", source == Self.twinChangeSource ? "internal" : "downstream"))
        let body = event.body
        return RoutableMessage(
            properties: properties.application.map { ($0.name, $0.value) }, systemProperties: system + ownProperties
        ) { Array(body.readableBytesView) }
    }

    /// The names in conditions (edge-runtime.md, D.3).
    private static let names: [SystemProperty: String] = [
        .messageID: "messageId", .correlationID: "correlationId", .userID: "userId", .to: "to",
        .expiry: "absolute-expiry-time", .contentType: "contentType", .contentEncoding: "contentEncoding",
        .schema: "messageSchema", .creationTime: "creationTime", .outputName: "outputName",
        .interfaceID: "iothub-interface-id", .component: "dt-subject", .acknowledgement: "ack",
    ]
}

/// What the edge hub itself does with property bags, without taking them apart.
enum PropertyBag {
    /// The value of `$.on`.
    static func outputName(_ bag: ByteBuffer) -> String? {
        for pair in bag.readableBytesView.split(separator: UInt8(ascii: "&")) {
            guard let rest = value(of: "on", in: pair) else { continue }
            return PercentCoding.decoded(String(decoding: rest, as: UTF8.self))
        }
        return nil
    }

    /// The bag with the sender's identity, and without what a sender claims about it.
    static func stamped(_ bag: ByteBuffer, sender: IdentityKey) -> ByteBuffer {
        var result = ByteBuffer()
        result.reserveCapacity(bag.readableBytes + 64)
        result.writeString("$.cdid=\(PercentCoding.encoded(sender.deviceID))")
        if let module = sender.moduleID { result.writeString("&$.cmid=\(PercentCoding.encoded(module))") }
        for pair in bag.readableBytesView.split(separator: UInt8(ascii: "&"))
        where value(of: "cdid", in: pair) == nil && value(of: "cmid", in: pair) == nil {
            result.writeInteger(UInt8(ascii: "&"))
            result.writeBytes(pair)
        }
        return result
    }

    /// What follows `$.name=` or `%24.name=`; nil for another pair.
    private static func value(of name: String, in pair: ByteBufferView) -> ByteBufferView? {
        var rest = pair
        if rest.first == UInt8(ascii: "$") {
            rest = rest.dropFirst()
        } else if rest.starts(with: "%24".utf8) {
            rest = rest.dropFirst(3)
        } else {
            return nil
        }
        guard rest.starts(with: ".".utf8) else { return nil }
        rest = rest.dropFirst()
        guard rest.starts(with: name.utf8) else { return nil }
        rest = rest.dropFirst(name.utf8.count)
        guard rest.first == UInt8(ascii: "=") else { return nil }
        return rest.dropFirst()
    }
}
