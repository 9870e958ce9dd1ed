import AMQPCodec
import HubProtocol
import Logging
import Model
import NIOCore
import Transport

// How a peer proves itself: SASL and tokens (hub.md, section 7.1).

extension AMQPConnectionHandler {
    // MARK: SASL

    func authenticate(_ mechanism: String, _ response: ByteBuffer, hostName: String?) {
        if let hostName, !hostName.isEmpty { self.hostName = hostName }
        switch mechanism.uppercased() {
        case "ANONYMOUS", "MSSBCBS": finishSASL(true)
        case "EXTERNAL": finishSASL(!certificates.isEmpty)
        case "PLAIN":
            guard let plain = AMQPPlainCredentials(response) else { return finishSASL(false) }
            prove(plain)
        default: finishSASL(false)
        }
    }

    private func prove(_ plain: AMQPPlainCredentials) {
        logger[metadataKey: "identity"] = "\(plain.user)"
        switch plain.principal {
        case .policy: check(plain.token, audience: "") { $0.finishSASL($1 == nil, $1) }
        case .identity(let identity): check(plain.token, of: identity) { $0.finishSASL($1 == nil, $1) }
        }
    }

    private func finishSASL(_ success: Bool, _ error: HubError? = nil) {
        guard !hasEnded else { return }
        if let error { logger.info("connection refused", metadata: ["reason": "\(error.message)"]) }
        let isOurs = error.map { $0.code.status >= 500 } ?? false
        handle(connection.finishSASL(success: success ? true : isOurs ? nil : false))
        finishTurn()
    }

    var certificates: [[UInt8]] { context.map { peer.certificates(of: $0.channel) } ?? [] }

    // MARK: Tokens

    typealias Decision = (AMQPConnectionHandler, HubError?) -> Void

    /// Checks the token of a device or module, and keeps a good one.
    private func check(_ token: String, of identity: IdentityKey, then decision: @escaping Decision) {
        let claim = IdentityClaim(
            identity: identity, credential: .sharedAccessSignature(token), hostName: hostName,
            productInfo: productInfo, transport: transport)
        let backend = head.backend
        ask { () async throws(HubError) -> Int64 in
            try await backend.authenticate(claim).expiry ?? .max
        } then: { handler, result in
            switch result {
            case .success(let expiry):
                handler.claims.put(AMQPClaims.Token(text: token, expiry: expiry), for: identity)
                // A token that is put again takes the older one's place, and disturbs nothing.
                handler.devices[identity]?.expiry = expiry
                handler.standingChanged()
                decision(handler, nil)
            case .failure(let error): decision(handler, error)
            }
        }
    }

    /// Checks the token of a policy of the hub, and keeps a good one.
    private func check(_ token: String, audience: String, then decision: @escaping Decision) {
        guard let services = head.services else {
            decision(self, HubError(.iotHubUnauthorizedAccess, "Services are not served here."))
            return
        }
        ask { () async throws(HubError) -> Int64 in
            try await services.check(token)
        } then: { handler, result in
            switch result {
            case .success(let expiry):
                handler.claims.put(AMQPClaims.Token(text: token, expiry: expiry), audience: audience)
                handler.standingChanged()
                decision(handler, nil)
            case .failure(let error): decision(handler, error)
            }
        }
    }

    /// A request on the link to `$cbs`.
    func putToken(_ message: AMQPMessage, from link: AMQPLinkState) {
        let request = AMQPRequest(message, from: link)
        let name = message.applicationProperty("name")?.text ?? ""
        guard message.applicationProperty("operation")?.text?.lowercased() == "put-token", name.utf8.count <= 2048
        else { return answer(request, 400, "The operation is not put-token.") }
        let type = message.applicationProperty("type")?.text?.lowercased() ?? ""
        guard type.hasSuffix(":sastoken") else {
            return answer(
                request, 400, "The token is of the type '\(type.prefix(100))'; a shared access signature is wanted.")
        }
        guard case .value(let value) = message.body, let text = value.text else {
            return answer(request, 400, "The body holds no token.")
        }
        let token: SASToken
        do {
            token = try SASToken(parsing: text)
        } catch {
            return answer(request, 400, "\(error)")
        }
        guard claims.count < head.limits.tokens else {
            return answer(request, 403, "The connection holds \(head.limits.tokens) tokens, which is the limit.")
        }
        let decide: Decision = { handler, error in
            if let error {
                handler.logger.info("a token is refused", metadata: ["reason": "\(error.message)"])
                handler.answer(request, error.code.status >= 500 ? 500 : 401, error.message)
            } else {
                handler.answer(request, 200, "OK")
            }
            handler.finishTurn()
        }
        if let identity = token.identity {
            check(text, of: identity, then: decide)
        } else {
            check(text, audience: name, then: decide)
        }
    }

    private func answer(_ request: AMQPRequest, _ status: Int32, _ description: String) {
        var message = AMQPMessage()
        message.properties.correlationID = request.messageID
        message.applicationProperties = [
            AMQPMember(.string("status-code"), .int(status)),
            AMQPMember(.string("status-description"), .string(description)),
        ]
        message.body = .value(.null)
        respond(to: request, message)
    }

    private func answer(_ request: AMQPRequest, _ status: Int, _ description: String) {
        answer(request, Int32(clamping: status), description)
    }
}

/// What a peer shows with SASL PLAIN.
struct AMQPPlainCredentials {
    enum Principal: Equatable {
        case policy(String)
        case identity(IdentityKey)
    }

    let user: String
    let principal: Principal
    let token: String

    /// Reads `authorization NUL user NUL token`; the user is `{policy}@sas.root.{hub}` or `{id}[/{module}]@sas.{hub}`.
    init?(_ response: ByteBuffer) {
        let parts = response.readableBytesView.split(separator: 0, omittingEmptySubsequences: false)
        guard parts.count == 3, let user = String(validating: parts[1], as: UTF8.self),
            let token = String(validating: parts[2], as: UTF8.self), !token.isEmpty
        else { return nil }
        self.user = user
        self.token = token
        let lower = user.lowercased()
        // Ids may hold an @ themselves, so the last one counts; both texts have the same places for ASCII.
        guard user.utf8.allSatisfy({ $0 < 0x80 }), let at = lower.ranges(of: "@sas.").last else { return nil }
        let name = String(user[..<at.lowerBound])
        if lower[at.upperBound...].hasPrefix("root.") {
            principal = .policy(name)
        } else {
            guard let identity = IdentityKey(parsing: name) else { return nil }
            principal = .identity(identity)
        }
    }
}
