/// What bytes break of AMQP; the connection ends with `condition`.
package struct AMQPDecodingError: Error, Sendable, Hashable, CustomStringConvertible {
    /// `amqp:decode-error` or `amqp:connection:framing-error`.
    package let condition: String
    package let reason: String

    static func decode(_ reason: String) -> AMQPDecodingError {
        AMQPDecodingError(condition: "amqp:decode-error", reason: reason)
    }

    static func framing(_ reason: String) -> AMQPDecodingError {
        AMQPDecodingError(condition: "amqp:connection:framing-error", reason: reason)
    }

    package var description: String { "\(condition): \(reason)" }
}
