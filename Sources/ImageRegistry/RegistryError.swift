/// What went wrong between us and a registry. Never holds a credential.
package struct RegistryError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// No connection, or no answer in time.
        case unreachable
        /// 401 or 403.
        case unauthorized
        /// The registry found fault with what it was asked.
        case refused
        /// An answer that is not what the API describes.
        case badAnswer
        case cancelled
    }

    package let code: Code
    package let reason: String

    init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    package var description: String { reason }
}
