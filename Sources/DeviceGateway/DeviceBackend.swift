package import HubProtocol
package import Model
package import NIOCore

/// What stands behind the gateway: the hub on its store, or the edge hub on its own store and an upstream.
///
/// The heads (MQTT, AMQP, HTTPS) speak to nothing else. Operations that may take long are `async`; the path of
/// telemetry and everything a session reports are not, so that a whole read is handed over without a suspension.
/// A backend may be called from any thread.
package protocol DeviceBackend: Sendable {
    /// Decides who the peer is and whether it may use the device endpoints.
    ///
    /// - Throws: `HubError`: `iotHubUnauthorized` for a bad, expired or foreign credential, `deviceDisabled`, `deviceNotFound`.
    func authenticate(_ claim: IdentityClaim) async throws(HubError) -> AuthenticatedIdentity

    /// Puts the session in place of an older one of the same identity, which is closed first.
    ///
    /// Called once, after `authenticate` and before the peer is told that it is connected, so that whoever reads the
    /// connection state afterwards finds `Connected`. Nothing is delivered to the session before this returns.
    func open(_ session: any DeviceSession, persistent: Bool) async throws(HubError) -> SessionResumption

    /// The session has ended, for whatever reason; called once for each `open` that did not throw.
    func closed(_ session: any DeviceSession)

    /// The session now listens to exactly these; what waits for it may be delivered.
    ///
    /// Called after each SUBSCRIBE and UNSUBSCRIBE (or link), and once right after the peer was told that it is
    /// connected when `open` returned subscriptions: so this is the one sign to begin delivering.
    func subscriptionsChanged(_ session: any DeviceSession, to subscriptions: Set<DeviceSubscription>)

    /// Takes a batch of messages of one sender, in order.
    ///
    /// - Parameter completion: called once, from any thread: success when the whole batch is durable (and only then may
    ///   the peer be told), failure when none of it was taken. Completions of one sender come in the order of the calls.
    func accept(
        _ events: [DeviceEvent], from identity: AuthenticatedIdentity,
        completion: @escaping @Sendable (Result<Void, HubError>) -> Void)

    /// The twin as its owner sees it: `{"desired":{…,"$version":n},"reported":{…,"$version":n}}` as JSON text.
    func twin(of identity: AuthenticatedIdentity) async throws(HubError) -> ByteBuffer

    /// Merges a patch into the reported properties.
    ///
    /// - Parameter expectedVersion: when given, the patch is refused (`preconditionFailed`) unless it is the current one.
    /// - Returns: the new version; nil where the backend cannot know it yet (an edge hub without its hub).
    func report(
        _ patch: ByteBuffer, expectedVersion: Int?, from identity: AuthenticatedIdentity
    ) async throws(HubError) -> Int?

    /// A module or device has answered a method that `DeviceSession.deliver` gave it.
    func methodAnswered(_ answer: MethodAnswer, by session: any DeviceSession)

    /// The peer has dealt with a delivery that carries a token.
    func settled(_ token: DeliveryToken, _ outcome: DeliveryOutcome, by session: any DeviceSession)
}

/// Who a peer says it is, and what it shows for it.
package struct IdentityClaim: Sendable {
    package enum Credential: Sendable {
        /// The whole text from `SharedAccessSignature` on.
        case sharedAccessSignature(String)
        /// The certificate chain of the TLS connection in DER, leaf first.
        case certificates([[UInt8]])
        case none
    }

    package var identity: IdentityKey
    package var credential: Credential
    /// The host name that the peer used in its user name or address.
    package var hostName: String
    /// `DeviceClientType` and further parameters, for the log and the device's page; percent-decoded.
    package var productInfo: String
    package var transport: DeviceTransport
    /// The model of IoT Plug and Play that the device says it is of; nil when it says nothing.
    package var modelID: String?

    package init(
        identity: IdentityKey, credential: Credential, hostName: String, productInfo: String = "",
        transport: DeviceTransport, modelID: String? = nil
    ) {
        self.identity = identity
        self.credential = credential
        self.hostName = hostName
        self.productInfo = productInfo
        self.transport = transport
        self.modelID = modelID
    }
}

package enum DeviceTransport: String, Sendable {
    case mqtt, mqttOverWebSocket, amqp, amqpOverWebSocket, https
}

/// An identity that has proved itself.
package struct AuthenticatedIdentity: Sendable, Hashable {
    package let key: IdentityKey
    package let generationID: String
    /// The JSON text of hub.md, section 10.1: `{"scope":"device","type":"sas","issuer":"iothub"…}`.
    package let method: String
    /// Seconds since 1970 at which the credential ends and the connection has to be closed; nil for none.
    package let expiry: Int64?
    /// What the backend took for proof, so that it notices a change before the connection stands; opaque.
    package let proof: Int

    package init(key: IdentityKey, generationID: String, method: String, expiry: Int64?, proof: Int = 0) {
        self.proof = proof
        self.key = key
        self.generationID = generationID
        self.method = method
        self.expiry = expiry
    }
}

/// A live connection of one identity, held by a head; the backend delivers through it.
///
/// Both calls may come from any thread and return at once. A delivery to a session that has ended is dropped: what
/// has a token is then never settled.
package protocol DeviceSession: AnyObject, Sendable {
    var identity: AuthenticatedIdentity { get }
    func deliver(_ deliveries: [Delivery])
    func close(_ reason: SessionClosure)
}

package enum SessionClosure: Sendable, Hashable {
    case takenOver, credentialExpired, identityDisabledOrRemoved, tooManyConnections, shuttingDown
}

/// What a returning client finds.
package struct SessionResumption: Sendable {
    /// Whether a session of this identity was kept, as MQTT's session-present tells.
    package var isPresent: Bool
    package var subscriptions: Set<DeviceSubscription>

    package init(isPresent: Bool, subscriptions: Set<DeviceSubscription>) {
        self.isPresent = isPresent
        self.subscriptions = subscriptions
    }
}

/// Something for the peer.
package enum Delivery: Sendable {
    /// A change of the desired properties: the patch with `$version`, as JSON text (hub.md, section 3.4).
    case desiredProperties(version: Int, patch: ByteBuffer)
    /// A direct method; `id` is opaque and comes back in the answer.
    case method(id: String, name: String, payload: ByteBuffer)
    /// A cloud-to-device message; to be settled. When its lock ends first it comes again, with the same token.
    case cloudToDevice(token: DeliveryToken, CloudToDeviceMessage)
    /// A message routed to the input of a module; to be settled.
    case input(token: DeliveryToken, name: String, DeviceEvent)
}

/// Names one delivery within a session; chosen by the backend, in one session never for another message.
package struct DeliveryToken: Sendable, Hashable {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }
}

package enum DeliveryOutcome: Sendable, Hashable {
    case completed, rejected, abandoned
}

package struct MethodAnswer: Sendable {
    package let id: String
    package let status: Int
    /// JSON text, or empty.
    package let payload: ByteBuffer

    package init(id: String, status: Int, payload: ByteBuffer) {
        self.id = id
        self.status = status
        self.payload = payload
    }
}
