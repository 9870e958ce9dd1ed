import AMQPCodec
import HubProtocol
import Model

/// Where a reader wants to begin: the texts that clients send as filter (service-api-observed.md, section 5.4).
enum AMQPEventSelector {
    static let filterName = "apache.org:selector-filter:string"

    /// Reads a filter such as `amqp.annotation.x-opt-offset > '12'`.
    ///
    /// - Throws: `HubError`: `argumentInvalid`.
    static func start(_ text: String) throws(HubError) -> EventWish.Start {
        guard let sign = text.firstIndex(of: ">") else { throw wrong(text) }
        var value = text[text.index(after: sign)...]
        let isInclusive = value.first == "="
        if isInclusive { value.removeFirst() }
        let name = trimmed(text[..<sign]).lowercased()
        let operand = trimmed(value).filter { $0 != "'" && $0 != "\"" }
        switch name {
        case "amqp.annotation.x-opt-offset", "amqp.annotation.x-opt-sequence-number":
            if operand.lowercased() == "@latest" { return .latest }
            guard let number = Int64(operand) else { throw wrong(text) }
            guard number >= 0 else { return .beginning }
            if isInclusive { return .sequenceNumber(number) }
            return number < .max ? .sequenceNumber(number + 1) : .latest
        case "amqp.annotation.x-opt-enqueued-time", "amqp.annotation.x-opt-enqueuedtimeutc":
            guard let milliseconds = Int64(operand) else { throw wrong(text) }
            // Readers see whole milliseconds: what lies in the same one is not later.
            let first = isInclusive ? milliseconds : milliseconds.addingReportingOverflow(1).partialValue
            let (time, overflow) = first.multipliedReportingOverflow(by: 1000)
            return .time(overflow ? (milliseconds < 0 ? .min : .max) : time)
        default: throw wrong(text)
        }
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop { $0 == " " }
        while text.last == " " { text.removeLast() }
        return text
    }

    private static func wrong(_ text: String) -> HubError {
        HubError(
            .argumentInvalid,
            "The filter '\(text.prefix(200))' compares neither offset, sequence number nor enqueued time.")
    }
}
