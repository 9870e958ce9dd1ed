import Crypto
package import DeviceClient
import DeviceGateway
import HubProtocol
package import Model
import NIOCore

/// Reaches the hub over AMQP: all identities on one connection, each with its own token and links.
package struct AMQPUpstream: UpstreamConnecting {
    private let hubHostName: String
    private let link: AMQPHubLink
    private let environment: ClientEnvironment

    /// Seconds for which a token is valid; it is renewed on the connection that stands.
    private static let tokenLifetime: Int64 = 3_600

    package init(hubHostName: String, link: AMQPHubLink, environment: ClientEnvironment = ClientEnvironment()) {
        self.hubHostName = hubHostName
        self.link = link
        self.environment = environment
    }

    package func connect(
        as identity: IdentityKey, key: [UInt8], events: UpstreamEvents
    ) async throws(UpstreamFailure) -> any UpstreamConnection {
        let module = identity.moduleID.map { "/modules/\($0)" } ?? ""
        let resource = "\(hubHostName)/devices/\(identity.deviceID)\(module)"
        let now = environment.now
        do {
            let device = try await link.connect(
                identity,
                token: {
                    SASToken.sign(resource: resource, expiry: now() + Self.tokenLifetime) { data in
                        Array(HMAC<SHA256>.authenticationCode(for: data, using: SymmetricKey(data: key)))
                    }
                },
                events: AMQPDevice.Events(
                    desired: events.desiredProperties,
                    method: { call in
                        let answer = await events.method(call.name, call.payload)
                        return MethodResult(status: answer.status, payload: answer.payload)
                    },
                    cloudToDevice: { event, settle in
                        events.cloudToDevice(event) { settle($0.settlement) }
                    },
                    closed: { events.closed("\($0)") }))
            return AMQPUpstreamConnection(device)
        } catch {
            throw UpstreamFailure(error)
        }
    }
}

private final class AMQPUpstreamConnection: UpstreamConnection {
    private let device: AMQPDevice

    init(_ device: AMQPDevice) { self.device = device }

    func send(
        _ events: [DeviceEvent], completion: @escaping @Sendable (Int, Result<Void, UpstreamFailure>) -> Void
    ) {
        device.send(events) { place, result in completion(place, result.mapError(UpstreamFailure.init)) }
    }

    func twin() async throws(UpstreamFailure) -> ByteBuffer {
        do {
            return try await device.twin()
        } catch {
            throw UpstreamFailure(error)
        }
    }

    func report(_ patch: ByteBuffer) async throws(UpstreamFailure) -> Int? {
        do {
            return try await device.report(patch)
        } catch {
            throw UpstreamFailure(error)
        }
    }

    func listenToCloud() { device.listenToCloud() }

    func close() async { await device.close() }
}

extension DeliveryOutcome {
    fileprivate var settlement: AMQPDevice.Settlement {
        switch self {
        case .completed: .completed
        case .rejected: .rejected
        case .abandoned: .abandoned
        }
    }
}
