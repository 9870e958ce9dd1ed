import FoundationEssentials
import HubProtocol
import Model
import NIOHTTP1
import Transport

/// A request about the messages to a device or module: `…/messages/deviceBound[/{lockToken}[/abandon]]`.
struct MailboxCall {
    enum Operation {
        case receive
        case settle(lockToken: String, DeliveryOutcome)
    }

    let identity: IdentityKey
    let operation: Operation

    /// Nil when the path or the method is another's.
    init?(_ request: HTTPRequest) {
        let path = request.path
        let words = path.map { $0.lowercased() }
        guard words.first == "devices", let place = words.lastIndex(of: "devicebound"), place >= 3,
            words[place - 1] == "messages", place == 3 || (place == 5 && words[2] == "modules")
        else { return nil }
        switch (request.method, words.dropFirst(place + 1).count) {
        case (.GET, 0): operation = .receive
        case (.DELETE, 1):
            operation = .settle(
                lockToken: path[place + 1], request.parameter("reject") == nil ? .completed : .rejected)
        case (.POST, 2) where words[place + 2] == "abandon":
            operation = .settle(lockToken: path[place + 1], .abandoned)
        default: return nil
        }
        identity = IdentityKey(device: path[1], module: place == 5 ? path[3] : nil)
    }
}

extension DeviceHTTPHead {
    /// The longest lock that a device may ask for.
    private static let longestLock = 300

    func respond(
        to call: MailboxCall, _ request: HTTPRequest, _ mailbox: any MessageMailbox
    ) async throws(HubError) -> HTTPResponse {
        guard IdentityKey.isValid(call.identity.deviceID), IdentityKey.isValid(call.identity.moduleID ?? "m") else {
            throw HubError(.argumentInvalid, "The device or module id in the path is not valid.")
        }
        let authenticated = try await backend.authenticate(claim(call.identity, request))
        switch call.operation {
        case .receive:
            var lockTime: Duration?
            if let text = request.headers.first(name: "iothub-messagelocktimeout") {
                guard let seconds = Int(text), seconds > 0 else {
                    throw HubError(.argumentInvalid, "IotHub-MessageLockTimeout is no number of seconds.")
                }
                lockTime = .seconds(min(seconds, Self.longestLock))
            }
            guard let message = try await mailbox.receive(for: authenticated, lockTime: lockTime) else {
                return HTTPResponse(status: .noContent)
            }
            return HTTPResponse(
                status: .ok, headers: MessageHeaders.headers(of: message), body: .bytes(message.event.body))
        case .settle(let text, let outcome):
            var token = Substring(text)
            if token.count > 1, token.first == "\"", token.last == "\"" { token = token.dropFirst().dropLast() }
            guard let lockToken = UUID(uuidString: String(token)) else {
                throw HubError(.deviceMessageLockLost, "There is no lock of this name.")
            }
            try await mailbox.settle(lockToken, outcome, for: authenticated)
            return HTTPResponse(status: .noContent)
        }
    }
}
