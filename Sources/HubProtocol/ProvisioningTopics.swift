package import NIOCore

/// What a device that wants to be provisioned publishes (hub.md, section 10.7).
package enum ProvisioningRequest: Sendable, Equatable {
    case register(requestID: String)
    case operationStatus(requestID: String, operationID: String)

    private static let register = Array("$dps/registrations/PUT/iotdps-register/".utf8)
    private static let operationStatus = Array("$dps/registrations/GET/iotdps-get-operationstatus/".utf8)

    /// Nil for a topic that means nothing here.
    package init?(topic: ByteBuffer) {
        let bytes = topic.readableBytesView
        if let rest = bytes.after(Self.register), let id = TopicQuery(rest).requestID {
            self = .register(requestID: id)
        } else if let rest = bytes.after(Self.operationStatus), case let query = TopicQuery(rest),
            let id = query.requestID, let operation = query.operationID
        {
            self = .operationStatus(requestID: id, operationID: operation)
        } else {
            return nil
        }
    }

    /// Opaque; the answer bears it as it was written.
    package var requestID: String {
        switch self {
        case .register(let id), .operationStatus(let id, _): id
        }
    }
}

/// The topics on which the provisioning service answers.
package enum ProvisioningTopics {
    /// The one filter that a device may subscribe to.
    package static let answers = "$dps/registrations/res/#"

    /// - Parameter retryAfter: in seconds.
    package static func answer(status: Int, requestID: String, retryAfter: Int?) -> ByteBuffer {
        ByteBuffer(
            string: "$dps/registrations/res/\(status)/?$rid=\(requestID)"
                + (retryAfter.map { "&retry-after=\($0)" } ?? ""))
    }
}
