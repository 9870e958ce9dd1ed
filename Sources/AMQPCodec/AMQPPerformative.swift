package import NIOCore

/// What a frame says (parts 2.7 and 5.3.3 of the standard), with the fields that a hub uses; the others are passed over
/// when read and null when written.
package enum AMQPPerformative: Sendable, Hashable {
    case open(Open)
    case begin(Begin)
    case attach(Attach)
    case flow(Flow)
    case transfer(Transfer)
    case disposition(Disposition)
    case detach(Detach)
    case end(AMQPError?)
    case close(AMQPError?)
    case saslMechanisms([String])
    case saslInit(mechanism: String, response: ByteBuffer?, hostName: String?)
    case saslChallenge(ByteBuffer)
    case saslResponse(ByteBuffer)
    case saslOutcome(UInt8)

    package struct Open: Sendable, Hashable {
        package var containerID: String
        package var hostName: String?
        package var maxFrameSize: UInt32 = .max
        package var channelMax: UInt16 = .max
        /// Milliseconds.
        package var idleTimeOut: UInt32?
        package var properties: AMQPValue = .null

        package init(containerID: String) { self.containerID = containerID }
    }

    package struct Begin: Sendable, Hashable {
        package var remoteChannel: UInt16?
        package var nextOutgoingID: UInt32
        package var incomingWindow: UInt32
        package var outgoingWindow: UInt32
        package var handleMax: UInt32 = .max

        package init(remoteChannel: UInt16?, nextOutgoingID: UInt32, incomingWindow: UInt32, outgoingWindow: UInt32) {
            self.remoteChannel = remoteChannel
            self.nextOutgoingID = nextOutgoingID
            self.incomingWindow = incomingWindow
            self.outgoingWindow = outgoingWindow
        }
    }

    package struct Attach: Sendable, Hashable {
        package var name: String
        package var handle: UInt32
        /// The part that the writer of the frame plays.
        package var isReceiver: Bool
        /// 0 unsettled, 1 settled, 2 mixed.
        package var senderSettleMode: UInt8 = 2
        /// 0 first, 1 second.
        package var receiverSettleMode: UInt8 = 0
        package var source: AMQPValue = .null
        package var target: AMQPValue = .null
        /// Given when the writer is the sender.
        package var initialDeliveryCount: UInt32?
        package var maxMessageSize: UInt64?
        package var properties: AMQPValue = .null

        package init(name: String, handle: UInt32, isReceiver: Bool) {
            self.name = name
            self.handle = handle
            self.isReceiver = isReceiver
        }

        /// The address of a source or target; nil for none.
        package static func address(_ terminus: AMQPValue) -> String? {
            guard case .described(_, let fields) = terminus else { return nil }
            return fields.elements?.first?.text
        }

        /// The filters of the source by name, each as its descriptor and its value.
        package var filters: [String: (descriptor: AMQPValue, value: AMQPValue)] {
            guard case .described(_, let fields) = source, let elements = fields.elements, elements.count > 7 else {
                return [:]
            }
            var filters: [String: (descriptor: AMQPValue, value: AMQPValue)] = [:]
            for member in elements[7].members ?? [] {
                guard let name = member.key.text, case .described(let descriptor, let value) = member.value else {
                    continue
                }
                filters[name] = (descriptor, value)
            }
            return filters
        }
    }

    package struct Flow: Sendable, Hashable {
        package var nextIncomingID: UInt32?
        package var incomingWindow: UInt32
        package var nextOutgoingID: UInt32
        package var outgoingWindow: UInt32
        /// Nil for the flow of a session as a whole.
        package var handle: UInt32?
        package var deliveryCount: UInt32?
        package var linkCredit: UInt32?
        package var available: UInt32?
        package var drain = false
        package var echo = false

        package init(
            nextIncomingID: UInt32?, incomingWindow: UInt32, nextOutgoingID: UInt32, outgoingWindow: UInt32,
            handle: UInt32? = nil, deliveryCount: UInt32? = nil, linkCredit: UInt32? = nil
        ) {
            self.nextIncomingID = nextIncomingID
            self.incomingWindow = incomingWindow
            self.nextOutgoingID = nextOutgoingID
            self.outgoingWindow = outgoingWindow
            self.handle = handle
            self.deliveryCount = deliveryCount
            self.linkCredit = linkCredit
        }
    }

    package struct Transfer: Sendable, Hashable {
        package var handle: UInt32
        package var deliveryID: UInt32?
        package var deliveryTag: ByteBuffer?
        package var messageFormat: UInt32?
        package var isSettled: Bool?
        package var hasMore = false
        package var isAborted = false

        package init(handle: UInt32) { self.handle = handle }
    }

    package struct Disposition: Sendable, Hashable {
        package var isReceiver: Bool
        package var first: UInt32
        package var last: UInt32?
        package var isSettled = false
        package var state: AMQPOutcome?

        package init(isReceiver: Bool, first: UInt32, last: UInt32? = nil, isSettled: Bool, state: AMQPOutcome?) {
            self.isReceiver = isReceiver
            self.first = first
            self.last = last
            self.isSettled = isSettled
            self.state = state
        }
    }

    package struct Detach: Sendable, Hashable {
        package var handle: UInt32
        package var isClosed: Bool
        package var error: AMQPError?

        package init(handle: UInt32, isClosed: Bool, error: AMQPError? = nil) {
            self.handle = handle
            self.isClosed = isClosed
            self.error = error
        }
    }
}

/// An error as it travels in `detach`, `end`, `close` and the rejected outcome.
package struct AMQPError: Sendable, Hashable, Error {
    /// A symbol such as `amqp:unauthorized-access`.
    package var condition: String
    package var description: String?
    package var information: [AMQPMember]

    package init(_ condition: String, _ description: String? = nil, information: [AMQPMember] = []) {
        self.condition = condition
        self.description = description
        self.information = information
    }
}

/// What became of a delivery.
package enum AMQPOutcome: Sendable, Hashable {
    case accepted
    case rejected(AMQPError?)
    case released
    case modified(failed: Bool, undeliverable: Bool)
    /// A state that is no outcome yet, or one that is not known here.
    case other
}
