/// What went wrong between us and the container engine.
package struct EngineError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable {
        /// The socket or address does not answer: no such file, permission denied, connection refused.
        case unreachable
        /// The engine did not answer in the time a call of its kind may take.
        case timedOut
        /// The engine speaks no API version that we do.
        case tooOld
        /// The address of the engine cannot be read, or is of a kind that is not supported.
        case badAddress
        /// The engine found fault with what it was asked (400).
        case refused
        /// 401 or 403.
        case unauthorized
        /// No such container, image or network (404).
        case notFound
        /// A name or port is taken, or the thing is in the wrong state (409).
        case conflict
        /// The engine failed (500 and above).
        case failed
        /// A pull, push or build began and then failed; the reason is the registry's or the build's own.
        case transferFailed
        /// An answer that is not what the API describes.
        case badAnswer
        /// The calling task was cancelled.
        case cancelled
    }

    package let code: Code
    /// The engine's own reason where it gave one. Never holds a credential.
    package let reason: String
    /// The HTTP status, where there was an answer.
    package let status: Int?

    package init(_ code: Code, _ reason: String, status: Int? = nil) {
        self.code = code
        self.reason = reason
        self.status = status
    }

    package var description: String { reason }
}

extension EngineError {
    /// - Parameter reason: the `message` of the engine's answer.
    init(status: Int, reason: String) {
        let code: Code =
            switch status {
            case 401, 403: .unauthorized
            case 404: .notFound
            case 409: .conflict
            case 500...: .failed
            default: .refused
            }
        self.init(code, reason, status: status)
    }
}
