import DeviceGateway
import FoundationEssentials
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Transport

extension ServiceResponder {
    /// `POST /devices/{id}[/modules/{id}]/messages/deviceBound`, our own way to send over HTTPS: properties in headers as
    /// devices send telemetry.
    func send(
        to key: IdentityKey, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        guard request.method == .POST else { throw Self.wrongMethod(request) }
        try caller.require(.serviceConnect)
        try await registry.send(MessageHeaders.properties(of: request.headers), request.body, to: key)
        return ServiceAnswer.nothing()
    }

    /// `DELETE /devices/{id}/commands` (hub.md, section 1).
    func purge(
        _ key: IdentityKey, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        guard request.method == .DELETE else { throw Self.wrongMethod(request) }
        try caller.require(.serviceConnect)
        let count = try await registry.purgeMessages(of: key)
        return ServiceAnswer.json([
            "totalMessagesPurged": JSONValue(count), "deviceId": .string(key.deviceID),
            "moduleId": .optional(key.moduleID),
        ])
    }

    /// `/messages/serviceBound/feedback[/{lockToken}[/abandon]]`.
    func feedback(
        _ lockToken: String?, abandons: Bool, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        try caller.require(.serviceConnect)
        guard let lockToken else {
            guard request.method == .GET else { throw Self.wrongMethod(request) }
            guard let batch = try await registry.feedback.receive() else { return ServiceAnswer.nothing() }
            var response = ServiceAnswer.json(
                Array(batch.body.readableBytesView), etag: batch.lockToken.uuidString.lowercased())
            response.headers.replaceOrAdd(name: "Content-Type", value: FeedbackDesk.contentType)
            response.headers.add(name: "iothub-sequencenumber", value: String(batch.sequenceNumber))
            response.headers.add(name: "iothub-enqueuedtime", value: batch.enqueuedTime.description)
            response.headers.add(name: "iothub-expiry", value: batch.expiry.description)
            response.headers.add(name: "iothub-deliverycount", value: String(batch.deliveryCount))
            response.headers.add(name: "iothub-userid", value: hostNames.first ?? "")
            return response
        }
        guard request.method == (abandons ? .POST : .DELETE) else { throw Self.wrongMethod(request) }
        guard let token = UUID(uuidString: lockToken.filter { $0 != "\"" }) else {
            throw HubError(.deviceMessageLockLost, "There is no lock of this name.")
        }
        try await registry.feedback.settle(token, abandons ? .abandoned : .completed)
        return ServiceAnswer.nothing()
    }
}
