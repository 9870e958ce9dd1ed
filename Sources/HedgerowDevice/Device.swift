import DeviceClient
public import FoundationEssentials
import HubProtocol
import JSONDocument
public import Logging
import Model
import NIOCore
import Synchronization

/// A device, or a module of an edge device, at its hub: Hedgerow's, an edge hub, or Azure IoT Hub.
///
/// ``run()`` keeps it connected. Messages may be sent at any time: while there is no connection they wait in a buffer in
/// memory, and they are sent again when the connection was lost before the hub had acknowledged them.
public final class Device: Sendable {
    /// The device's id.
    public var id: String { client.configuration.identity.deviceID }
    /// The module's id; nil for a device.
    public var moduleID: String? { client.configuration.identity.moduleID }

    /// Messages from the cloud and for inputs; for one reader.
    public let received: AsyncStream<ReceivedMessage>

    private let client: DeviceClient
    private let methods: MethodTable
    private let desired = DesiredFeed()
    private let receiving: AsyncStream<ReceivedMessage>.Continuation

    /// How a device behaves; the defaults suit most.
    public struct Options: Sendable {
        /// Messages that may wait for a connection or an acknowledgement.
        public var buffer = 10_000
        /// Messages that are on their way at the same time.
        public var window = 100
        /// The longest pause between two attempts to connect; the first is a second, each is twice the one before.
        public var longestPause = Duration.seconds(30)
        /// Name and version of the program, for the hub's log.
        public var productInfo = "hedgerow-device"
        public var logger = Logger(label: "device")

        public init() {}
    }

    /// A device or module by its connection string, of a Hedgerow hub or of Azure IoT Hub.
    ///
    /// - Parameters:
    ///   - trustRootsPEM: the only authorities that are trusted, such as those of `hedgerow hub ca`; nil for the system's.
    ///   - port: of MQTT over TLS.
    /// - Throws: ``DeviceError`` when the string or the certificates cannot be used.
    public convenience init(
        connectionString: String, trustRootsPEM: String? = nil, port: Int = 8883, options: Options = Options()
    ) throws {
        let connection: ConnectionString
        do throws(ConnectionString.Failure) {
            connection = try ConnectionString(parsing: connectionString)
        } catch {
            throw DeviceError(.credential, error.description)
        }
        guard let deviceID = connection.deviceID, !connection.sharedAccessKey.isEmpty else {
            throw DeviceError(
                .credential,
                "the connection string is not that of a device or module with a key: it needs DeviceId= and "
                    + "SharedAccessKey= (`hedgerow device connection-string ID` prints it)")
        }
        let identity = IdentityKey(device: deviceID, module: connection.moduleID)
        let host = connection.gatewayHostName ?? connection.hostName
        try self.init(
            identity, hubHostName: connection.hostName, host: host, port: port, trustRootsPEM: trustRootsPEM,
            credential: DeviceClientConfiguration.token(
                hubHostName: connection.hostName, identity: identity, key: connection.sharedAccessKey),
            options: options)
    }

    /// This module of an edge device, by the variables and the socket that the runtime gives its container.
    ///
    /// - Throws: ``DeviceError`` when the process is no module of an edge device, or the runtime does not answer.
    public static func fromEdgeEnvironment(
        _ environment: [String: String] = ProcessInfo.processInfo.environment, port: Int = 8883,
        options: Options = Options()
    ) async throws -> Device {
        let edge = try EdgeEnvironment(environment)
        let workload = WorkloadClient(socketPath: edge.socketPath, apiVersion: edge.apiVersion)
        return try Device(
            edge.identity, hubHostName: edge.hubHostName, host: edge.gatewayHostName, port: port,
            trustRootsPEM: try await workload.trustBundle(),
            credential: .token { try await workload.token(for: edge, now: ClientEnvironment.systemSeconds()) },
            options: options)
    }

    init(
        _ identity: IdentityKey, hubHostName: String, host: String, port: Int, trustRootsPEM: String?,
        credential: DeviceClientConfiguration.Credential, options: Options
    ) throws {
        let methods = MethodTable()
        do throws(DeviceClientError) {
            var configuration = DeviceClientConfiguration(
                identity: identity, hubHostName: hubHostName, host: host, port: port,
                tls: try ClientTLS(trustRootsPEM: trustRootsPEM, serverName: host), credential: credential)
            configuration.subscriptions = [
                .twinAnswers, .desiredProperties, .methods, identity.isModule ? .inputs : .cloudToDevice,
            ]
            configuration.methodHandler = { await methods.answer($0) }
            configuration.queueLimit = options.buffer
            configuration.window = options.window
            configuration.backOff = BackOff(longest: options.longestPause)
            configuration.productInfo = options.productInfo
            client = DeviceClient(configuration, logger: options.logger)
        } catch {
            throw DeviceError(error)
        }
        self.methods = methods
        (received, receiving) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1024))
    }

    // MARK: Connection

    /// Keeps the device connected until the task is cancelled; it cannot be used after that.
    public func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask {
                await self.client.run()
                self.receiving.finish()
                self.desired.finish()
            }
            group.addTask {
                for await message in self.client.messages {
                    let source: ReceivedMessage.Source =
                        switch message.source {
                        case .cloud: .cloud
                        case .input(let name): .input(name)
                        }
                    self.receiving.yield(
                        ReceivedMessage(message: Message(message.event), source: source) { message.complete() })
                }
            }
            group.addTask {
                for await change in self.client.desiredChanges {
                    if !self.desired.merge(change) { await self.readDesired() }
                }
            }
            group.addTask {
                // Patches of the time without a connection are not repeated.
                for await state in self.client.connectionStates() where state.isConnected { await self.readDesired() }
            }
        }
    }

    /// Connects, does `body`, and ends the connection, whatever comes of it. The device cannot be used after that.
    public func connected<Result>(
        isolation: isolated (any Actor)? = #isolation, _ body: (Device) async throws -> Result
    ) async rethrows -> Result {
        async let _: Void = run()
        let result = try await body(self)
        // Leaving the scope cancels the connection and waits for its end.
        return result
    }

    /// Whether there is a connection: now, and each time that it changes.
    public func connections() -> AsyncStream<Bool> {
        let states = client.connectionStates()
        return AsyncStream { continuation in
            let task = Task {
                var last: Bool?
                for await state in states where state.isConnected != last {
                    last = state.isConnected
                    continuation.yield(state.isConnected)
                }
                continuation.finish()
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    // MARK: Messages

    /// Sends messages, and returns when the hub has acknowledged the last of them, however long that takes.
    ///
    /// - Parameter output: the output of a module, which routes name; nil for a device's telemetry.
    public func send(_ messages: Message..., to output: String? = nil) async throws {
        do throws(DeviceClientError) {
            try await client.send(messages.map { $0.event(output: output) })
        } catch {
            throw DeviceError(error)
        }
    }

    // MARK: Twin

    /// The twin as the hub has it now.
    public func twin<Desired: Decodable, Reported: Decodable>(
        desired: Desired.Type, reported: Reported.Type
    ) async throws -> Twin<Desired, Reported> {
        let document = try await twinDocument()
        return Twin(
            desired: try Self.decode(document["desired"]), desiredVersion: document["desired"]?["$version"]?.int ?? 0,
            reported: try Self.decode(document["reported"]),
            reportedVersion: document["reported"]?["$version"]?.int ?? 0)
    }

    /// The desired properties: those of now as soon as there is a connection, then the whole of them after each change.
    ///
    /// Properties that do not decode end the stream with the decoder's error; make optional what may be missing.
    public func desiredProperties<Desired: Decodable & Sendable>(
        as type: Desired.Type = Desired.self
    ) -> AsyncThrowingStream<Desired, any Error> {
        let documents = desired.documents()
        return AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    for await document in documents { continuation.yield(try Self.decode(document)) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    /// Merges a value, which has to encode as a JSON object, into the reported properties.
    ///
    /// - Returns: the new version, when the hub tells it.
    @discardableResult
    public func report(_ patch: some Encodable) async throws -> Int? {
        let bytes = ByteBuffer(bytes: try JSONEncoder().encode(patch))
        do throws(DeviceClientError) {
            return try await client.report(bytes)
        } catch {
            throw DeviceError(error)
        }
    }

    private func twinDocument() async throws -> JSONValue {
        do throws(DeviceClientError) {
            let bytes = try await client.twin()
            guard let document = try? JSONValue(parsing: bytes.readableBytesView) else {
                throw DeviceClientError.protocolViolation("the twin is no JSON")
            }
            return document
        } catch {
            throw DeviceError(error)
        }
    }

    private func readDesired() async {
        guard let document = try? await twinDocument(), let properties = document["desired"] else { return }
        desired.set(properties)
    }

    private static func decode<Value: Decodable>(_ value: JSONValue?) throws -> Value {
        try JSONDecoder().decode(Value.self, from: Data((value ?? [:]).bytes()))
    }

    // MARK: Methods

    /// Answers a direct method. Register methods before ``run()``, so that the first call finds them.
    ///
    /// A payload that does not decode is answered with status 400, an error of the closure with 500 and its text.
    public func onMethod<Payload: Decodable & Sendable, Answer: Encodable & Sendable>(
        _ name: String, _ answer: @escaping @Sendable (Payload) async throws -> Answer
    ) {
        methods.set(name) { payload in
            let value: Payload
            do {
                value = try JSONDecoder().decode(Payload.self, from: Data(payload))
            } catch {
                return .failure(status: 400, "the payload is not what \(name) takes: \(error)")
            }
            do {
                return .success(Array(try JSONEncoder().encode(try await answer(value))))
            } catch {
                return .failure(status: 500, "\(error)")
            }
        }
    }

    /// Answers a direct method that takes nothing, whatever the payload.
    public func onMethod<Answer: Encodable & Sendable>(
        _ name: String, _ answer: @escaping @Sendable () async throws -> Answer
    ) {
        methods.set(name) { _ in
            do {
                return .success(Array(try JSONEncoder().encode(try await answer())))
            } catch {
                return .failure(status: 500, "\(error)")
            }
        }
    }
}

/// A twin, as the hub had it at one moment.
public struct Twin<Desired, Reported> {
    public let desired: Desired
    public let desiredVersion: Int
    public let reported: Reported
    public let reportedVersion: Int
}

extension Twin: Sendable where Desired: Sendable, Reported: Sendable {}
