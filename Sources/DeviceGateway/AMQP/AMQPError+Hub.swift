import AMQPCodec
import Model

extension AMQPError {
    /// A refusal in the words that AMQP clients understand (hub.md, section 7.3; edge-runtime.md, D.4).
    init(_ error: HubError, trackingID: String? = nil) {
        let condition: String =
            switch error.code {
            case .deviceMessageLockLost: "com.microsoft:message-lock-lost"
            case .deviceMaximumQueueDepthExceeded: "amqp:resource-limit-exceeded"
            case .iotHubQuotaExceeded: "com.microsoft:quota-exceeded"
            case .linkCreationConflict: "amqp:link:stolen"
            case .serverBusy: "com.microsoft:device-container-throttled"
            case .gatewayTimeout, .genericTimeout: "com.microsoft:timeout"
            default:
                switch error.code.status {
                case 400: "com.microsoft:argument-error"
                case 401, 403: "amqp:unauthorized-access"
                case 404: "amqp:not-found"
                case 405: "amqp:not-allowed"
                case 412: "amqp:precondition-failed"
                case 413: "amqp:link:message-size-exceeded"
                case 429: "com.microsoft:device-container-throttled"
                default: "amqp:internal-error"
                }
            }
        self.init(
            condition, error.message,
            information: trackingID.map { [AMQPMember(.symbol("com.microsoft:tracking-id"), .string($0))] } ?? [])
    }

    /// Why an identity's links end.
    init(_ reason: SessionClosure) {
        switch reason {
        case .takenOver: self.init("amqp:link:stolen", "The identity has connected anew.")
        case .credentialExpired: self.init("amqp:unauthorized-access", "The token or certificate has ended.")
        case .identityDisabledOrRemoved:
            self.init("amqp:unauthorized-access", "The identity was disabled, removed, or given other credentials.")
        case .tooManyConnections: self.init("amqp:resource-limit-exceeded", "Too many clients are connected.")
        case .shuttingDown: self.init("amqp:connection:forced", "The hub is shutting down; connect again.")
        }
    }
}
