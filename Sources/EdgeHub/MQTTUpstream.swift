import Crypto
package import DeviceClient
import DeviceGateway
import HubProtocol
package import Logging
package import Model
package import NIOCore
import NIOPosix

/// Reaches the hub over MQTT, one connection for each identity, with tokens signed on the device.
package struct MQTTUpstream: UpstreamConnecting {
    private let hubHostName: String
    private let host: String
    private let port: Int?
    private let carrier: DeviceClientConfiguration.Carrier
    private let tls: ClientTLS?
    private let group: any EventLoopGroup
    private let environment: ClientEnvironment
    private let logger: Logger

    /// Seconds for which a token is valid; the connection is made anew before it ends.
    private static let tokenLifetime: Int64 = 3_600

    /// - Parameters:
    ///   - host: where to connect, if it is not the hub's own name.
    ///   - port: nil for that of the carrier.
    ///   - tls: nil for a connection that is not encrypted.
    package init(
        hubHostName: String, host: String? = nil, port: Int? = nil,
        carrier: DeviceClientConfiguration.Carrier = .tcp, tls: ClientTLS?,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        environment: ClientEnvironment = ClientEnvironment(), logger: Logger
    ) {
        self.hubHostName = hubHostName
        self.host = host ?? hubHostName
        self.port = port
        self.carrier = carrier
        self.tls = tls
        self.group = group
        self.environment = environment
        self.logger = logger
    }

    package func connect(
        as identity: IdentityKey, key: [UInt8], events: UpstreamEvents
    ) async throws(UpstreamFailure) -> any UpstreamConnection {
        let module = identity.moduleID.map { "/modules/\($0)" } ?? ""
        let resource = "\(hubHostName)/devices/\(identity.deviceID)\(module)"
        let now = environment.now
        let configuration = DeviceClientConfiguration(
            identity: identity, hubHostName: hubHostName, host: host, port: port, carrier: carrier, tls: tls,
            credential: .token {
                SASToken.sign(resource: resource, expiry: now() + Self.tokenLifetime) { data in
                    Array(HMAC<SHA256>.authenticationCode(for: data, using: SymmetricKey(data: key)))
                }
            },
            subscriptions: [.twinAnswers, .desiredProperties, .methods],
            methodHandler: { call in
                let answer = await events.method(call.name, call.payload)
                return MethodResult(status: answer.status, payload: answer.payload)
            },
            productInfo: "hedgerow-edge", window: 256, timeout: .seconds(20), environment: environment)
        let client = DeviceClient(configuration, logger: logger, group: group)
        let states = client.connectionStates()
        let running = Task { await client.run() }
        for await state in states {
            switch state {
            case .connected:
                return MQTTUpstreamConnection(client, running: running, states: states, events: events)
            case .disconnected(let error?):
                running.cancel()
                await running.value
                throw UpstreamFailure(error)
            case .connecting, .disconnected(nil): continue
            }
        }
        running.cancel()
        throw .unreachable("the client has ended")
    }
}

/// A client for as long as its first connection lasts: what comes after is the edge hub's to decide, which keeps the
/// messages.
private final class MQTTUpstreamConnection: UpstreamConnection {
    private let client: DeviceClient
    private let running: Task<Void, Never>
    private let watching: Task<Void, Never>

    init(
        _ client: DeviceClient, running: Task<Void, Never>, states: AsyncStream<ConnectionState>,
        events: UpstreamEvents
    ) {
        self.client = client
        self.running = running
        watching = Task {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    for await change in client.desiredChanges {
                        events.desiredProperties(change.version ?? 0, change.patch)
                    }
                }
                group.addTask {
                    for await message in client.messages {
                        // MQTT knows no other answer than that it is dealt with.
                        events.cloudToDevice(message.event) { if $0 != .abandoned { message.complete() } }
                    }
                }
                for await state in states where !state.isConnected {
                    running.cancel()
                    let reason = if case .disconnected(let error?) = state { "\(error)" } else { "it is made anew" }
                    events.closed(reason)
                    break
                }
                group.cancelAll()
            }
        }
    }

    deinit {
        watching.cancel()
        running.cancel()
    }

    func send(
        _ events: [DeviceEvent], completion: @escaping @Sendable (Int, Result<Void, UpstreamFailure>) -> Void
    ) {
        for (place, event) in events.enumerated() {
            client.enqueue([event]) { result in completion(place, result.mapError(UpstreamFailure.init)) }
        }
    }

    func twin() async throws(UpstreamFailure) -> ByteBuffer {
        do {
            return try await client.twin()
        } catch {
            throw UpstreamFailure(error)
        }
    }

    func report(_ patch: ByteBuffer) async throws(UpstreamFailure) -> Int? {
        do {
            return try await client.report(patch)
        } catch {
            throw UpstreamFailure(error)
        }
    }

    func listenToCloud() { client.listen(to: .cloudToDevice) }

    func close() async {
        watching.cancel()
        running.cancel()
        await running.value
    }
}

extension UpstreamFailure {
    init(_ error: DeviceClientError) {
        switch error {
        case .refused(4), .refused(5), .noCredential, .badCertificate: self = .unauthorized("\(error)")
        case .messageTooLarge: self = .refused(HubError(.messageTooLarge, "\(error)"))
        case .rejected(let status, let message):
            switch status {
            case 412: self = .refused(HubError(.preconditionFailed, message))
            case 413: self = .refused(HubError(.messageTooLarge, message))
            case 400..<500 where status != 408 && status != 429:
                self = .refused(HubError(.argumentInvalid, message))
            default: self = .unreachable("\(error)")
            }
        default: self = .unreachable("\(error)")
        }
    }
}
