package import HubProtocol
package import Model
package import NIOCore

/// Who a client is, where it connects, and what it does there.
package struct DeviceClientConfiguration: Sendable {
    /// How the client proves who it is.
    package enum Credential: Sendable {
        /// Makes a new token, and tells when it ends, in seconds since 1970; asked before each connection. The client connects
        /// anew before the end.
        case token(@Sendable () async throws -> (text: String, expiry: Int64))
        /// The certificate of `tls`.
        case certificate
    }

    /// What carries MQTT.
    package enum Carrier: Sendable, Hashable {
        case tcp
        /// `/$iothub/websocket` with the sub-protocol `mqtt`, on port 443: for networks that let nothing else through.
        case webSocket
    }

    package var identity: IdentityKey
    /// The hub's own name, which stands in user name and token, also when an edge device is connected to.
    package var hubHostName: String
    /// Where to connect: the hub, or the edge device before it.
    package var host: String
    package var port: Int
    package var carrier: Carrier
    /// Nil for a connection that is not encrypted.
    package var tls: ClientTLS?
    package var credential: Credential
    /// What the client listens to; subscribed to anew on each connection.
    package var subscriptions: Set<DeviceSubscription>
    /// Answers direct methods.
    package var methodHandler: (@Sendable (MethodCall) async -> MethodResult)?
    /// Name and version of the program, for the hub's log.
    package var productInfo: String
    /// Seconds of silence after which the client pings.
    package var keepAlive: UInt16
    /// How many messages may wait for their acknowledgement.
    package var window: Int
    /// How many messages may wait in all.
    package var queueLimit: Int
    /// How long a connection may take to stand, and a twin request to be answered.
    package var timeout: TimeAmount
    package var backOff: BackOff
    package var environment: ClientEnvironment

    package init(
        identity: IdentityKey, hubHostName: String, host: String? = nil, port: Int? = nil, carrier: Carrier = .tcp,
        tls: ClientTLS?, credential: Credential, subscriptions: Set<DeviceSubscription> = [],
        methodHandler: (@Sendable (MethodCall) async -> MethodResult)? = nil, productInfo: String = "hedgerow",
        keepAlive: UInt16 = 60, window: Int = 100, queueLimit: Int = 10_000, timeout: TimeAmount = .seconds(30),
        backOff: BackOff = BackOff(), environment: ClientEnvironment = ClientEnvironment()
    ) {
        self.identity = identity
        self.hubHostName = hubHostName
        self.host = host ?? hubHostName
        self.port = port ?? (carrier == .tcp ? 8883 : 443)
        self.carrier = carrier
        self.tls = tls
        self.credential = credential
        self.subscriptions = subscriptions
        self.methodHandler = methodHandler
        self.productInfo = productInfo
        self.keepAlive = keepAlive
        self.window = window
        self.queueLimit = queueLimit
        self.timeout = timeout
        self.backOff = backOff
        self.environment = environment
    }

    /// A token from a key in base64, valid for so many seconds.
    package static func token(
        hubHostName: String, identity: IdentityKey, key: String, lifetime: Int64 = 3600,
        environment: ClientEnvironment = ClientEnvironment()
    ) -> Credential {
        let module = identity.moduleID.map { "/modules/\($0)" } ?? ""
        let resource = "\(hubHostName)/devices/\(identity.deviceID)\(module)"
        return .token { try SASToken.sign(resource: resource, key: key, expiry: environment.now() + lifetime) }
    }
}

/// What a client takes from the world around it.
package struct ClientEnvironment: Sendable {
    /// Seconds since 1970.
    package var now: @Sendable () -> Int64
    package var sleep: @Sendable (Duration) async throws -> Void
    /// A number from 0 to 1.
    package var random: @Sendable () -> Double

    package init(
        now: @escaping @Sendable () -> Int64 = ClientEnvironment.systemSeconds,
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
        random: @escaping @Sendable () -> Double = { Double.random(in: 0...1) }
    ) {
        self.now = now
        self.sleep = sleep
        self.random = random
    }
}

/// How long to wait before the next attempt to connect: twice as long each time, up to a limit, a fifth more or less by chance
/// so that a fleet does not come back all at once.
package struct BackOff: Sendable, Hashable {
    package var first: Duration
    package var longest: Duration

    package init(first: Duration = .seconds(1), longest: Duration = .seconds(30)) {
        self.first = first
        self.longest = longest
    }

    /// - Parameters:
    ///   - attempt: 0 for the first failure in a row.
    ///   - random: from 0 to 1.
    package func delay(attempt: Int, random: Double) -> Duration {
        var delay = first
        for _ in 0..<min(attempt, 20) where delay < longest { delay *= 2 }
        return min(delay, longest) * Int(800 + 400 * random) / 1000
    }
}

/// A direct method that the hub asks for.
package struct MethodCall: Sendable {
    package let name: String
    /// JSON text, or empty.
    package let payload: ByteBuffer
}

package struct MethodResult: Sendable {
    package var status: Int
    /// JSON text, or empty.
    package var payload: ByteBuffer

    package init(status: Int, payload: ByteBuffer = ByteBuffer()) {
        self.status = status
        self.payload = payload
    }
}
