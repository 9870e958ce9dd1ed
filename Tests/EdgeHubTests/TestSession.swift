import DeviceGateway
import EdgeHub
import HubProtocol
import Model
import NIOCore

/// A module's connection as the gateway would hold it.
final class TestSession: DeviceSession {
    struct State: Sendable {
        var inputs: [(name: String, body: String, bag: String, token: DeliveryToken)] = []
        var desired: [(version: Int, patch: String)] = []
        var methods: [(id: String, name: String, payload: String)] = []
        var cloud: [(body: String, token: DeliveryToken)] = []
        var closure: SessionClosure?
        var settlesInputs = true
    }

    let identity: AuthenticatedIdentity
    let state = Watched(State())
    private let hub: EdgeHub

    init(_ identity: IdentityKey, _ hub: EdgeHub) {
        self.identity = AuthenticatedIdentity(key: identity, generationID: "1", method: "{}", expiry: nil)
        self.hub = hub
    }

    func deliver(_ deliveries: [Delivery]) {
        for delivery in deliveries {
            let settled: DeliveryToken? = state.change { state in
                switch delivery {
                case .input(let token, let name, let event):
                    state.inputs.append(
                        (name, String(buffer: event.body), String(buffer: event.propertyBag), token))
                    return state.settlesInputs ? token : nil
                case .desiredProperties(let version, let patch):
                    state.desired.append((version, String(buffer: patch)))
                case .method(let id, let name, let payload):
                    state.methods.append((id, name, String(buffer: payload)))
                case .cloudToDevice(let token, let message):
                    state.cloud.append((String(buffer: message.event.body), token))
                }
                return nil
            }
            if let settled { hub.settled(settled, .completed, by: self) }
        }
    }

    func close(_ reason: SessionClosure) {
        state.change { $0.closure = reason }
        hub.closed(self)
    }

    func send(_ bodies: [String], output: String? = nil) async throws {
        let bag = output.map { ByteBuffer(string: "%24.on=\($0)&kind=test&$.cdid=forged") } ?? ByteBuffer()
        let events = bodies.map { DeviceEvent(propertyBag: bag, body: ByteBuffer(string: $0)) }
        let result = await withCheckedContinuation { done in
            hub.accept(events, from: identity) { done.resume(returning: $0) }
        }
        try result.get()
    }
}
