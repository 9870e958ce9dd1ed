import HubProtocol
import HubStore
import JSONDocument
import Model
import NIOCore
import QueryLanguage

extension RoutableMessage {
    /// What the conditions of routes see of a message of the hub (hub.md, section 10.2).
    ///
    /// - Parameter time: microseconds since 1970 at which the hub took it.
    convenience init(
        bag: ByteBuffer, body: ByteBuffer, sender: EventSender, source: EventSource, time: Int64, twin: JSONValue?
    ) {
        let properties = MessageProperties(bag: bag)
        var system: [(name: String, value: String?)] = [
            ("connectionDeviceId", sender.deviceID), ("connectionDeviceGenerationId", sender.generationID),
            ("connectionAuthMethod", sender.authenticationMethod),
            ("enqueuedTime", Timestamp(ticks: time * 10).description), ("iothub-message-source", source.name),
        ]
        if let module = sender.moduleID { system.append(("connectionModuleId", module)) }
        for (property, value) in properties.system {
            for name in Self.names(of: property) { system.append((name, value)) }
        }
        self.init(
            properties: properties.application.map { ($0.name, $0.value) }, systemProperties: system, twin: twin,
            body: { Array(body.readableBytesView) })
    }

    private static func names(of property: SystemProperty) -> [String] {
        switch property {
        case .messageID: ["messageId"]
        case .correlationID: ["correlationId"]
        case .userID: ["userId"]
        case .to: ["to"]
        case .contentType: ["contentType"]
        case .contentEncoding: ["contentEncoding"]
        case .expiry: ["expiryTimeUtc"]
        case .creationTime: ["creation-time-utc", "creationTimeUtc"]
        case .schema: ["messageSchema"]
        case .outputName: ["outputName"]
        case .interfaceID: ["dt-dataschema"]
        case .component: ["dt-subject"]
        case .diagnosticID: ["diagnosticId"]
        case .diagnosticContext: ["diagnosticContext"]
        case .acknowledgement: ["ack"]
        // Whose message it is says the hub alone.
        case .connectionDeviceID, .connectionModuleID: []
        }
    }
}
