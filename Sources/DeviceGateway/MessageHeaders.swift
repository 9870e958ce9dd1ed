import FoundationEssentials
package import HubProtocol
import Model
package import NIOHTTP1

/// The properties of a message as HTTP headers (hub.md, section 8).
package enum MessageHeaders {
    private static let system: [(name: String, property: SystemProperty)] = [
        ("iothub-to", .to), ("iothub-messageid", .messageID), ("iothub-correlationid", .correlationID),
        ("iothub-userid", .userID), ("iothub-expiry", .expiry), ("iothub-ack", .acknowledgement),
        ("iothub-messageschema", .schema), ("iothub-creationtimeutc", .creationTime),
        ("iothub-contenttype", .contentType), ("iothub-contentencoding", .contentEncoding),
        ("iothub-interface-id", .interfaceID), ("dt-subject", .component),
    ]
    private static let byName = Dictionary(uniqueKeysWithValues: system.map { ($0.name, $0.property) })
    private static let applicationPrefix = "iothub-app-"

    package static func properties(of headers: HTTPHeaders) -> MessageProperties {
        var properties = properties(of: headers.map { ($0.name, $0.value) })
        // Some clients write the two into the headers of HTTP itself, where an encoding that names characters means nothing
        // else.
        if properties.system[.contentEncoding] == nil, let encoding = headers.first(name: "content-encoding"),
            ["utf-8", "utf-16", "utf-32"].contains(encoding.lowercased())
        {
            properties.system[.contentEncoding] = encoding
            if properties.system[.contentType] == nil {
                properties.system[.contentType] = headers.first(name: "content-type")
            }
        }
        return properties
    }

    static func properties(of headers: some Sequence<(String, String)>) -> MessageProperties {
        var properties = MessageProperties()
        for (name, value) in headers {
            let lower = name.lowercased()
            if let known = byName[lower] {
                properties.system[known] = value
            } else if lower.hasPrefix(applicationPrefix), name.utf8.count > applicationPrefix.utf8.count {
                properties.set(String(name.dropFirst(applicationPrefix.count)), to: value)
            }
        }
        return properties
    }

    /// What a device that fetches a message is told beside its body.
    static func headers(of message: CloudToDeviceMessage) -> HTTPHeaders {
        let properties = MessageProperties(bag: message.event.propertyBag)
        var headers: HTTPHeaders = [
            "ETag": "\"\(message.lockToken.uuidString.lowercased())\"",
            "iothub-sequencenumber": String(message.sequenceNumber),
            "iothub-enqueuedtime": message.enqueuedTime.description,
            "iothub-expiry": message.expiry.description,
            "iothub-deliverycount": String(message.deliveryCount),
        ]
        for (name, property) in system where property != .expiry {
            if let value = properties.system[property] { headers.add(name: name, value: safe(value)) }
        }
        // Clients look for these two without the prefix and without a hyphen.
        if let type = properties.system[.contentType] { headers.add(name: "ContentType", value: safe(type)) }
        if let encoding = properties.system[.contentEncoding] {
            headers.add(name: "ContentEncoding", value: safe(encoding))
        }
        for property in properties.application where property.name.utf8.allSatisfy(isNamePart) {
            headers.add(name: applicationPrefix + property.name, value: safe(property.value ?? ""))
        }
        return headers
    }

    /// Nothing that was sent to a device may look like a header of its own.
    private static func safe(_ value: String) -> String {
        value.utf8.allSatisfy { (0x20...0x7E).contains($0) } ? value : PercentCoding.encoded(value)
    }

    /// The characters of a header's name (RFC 9110, section 5.6.2).
    private static func isNamePart(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
