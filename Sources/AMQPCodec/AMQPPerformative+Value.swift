import NIOCore

extension AMQPPerformative {
    /// Reads a described list; fields that are missing at its end are null.
    init(_ value: AMQPValue) throws(AMQPDecodingError) {
        guard case .described(let descriptor, let list) = value, let fields = list.elements,
            let code = Self.code(descriptor)
        else { throw .decode("a frame without a performative") }
        let read = Fields(fields)
        switch code {
        case 0x10:
            var open = Open(containerID: read[0].text ?? "")
            open.hostName = read[1].text
            open.maxFrameSize = read.uint(2) ?? .max
            open.channelMax = UInt16(clamping: read[3].integer ?? Int(UInt16.max))
            open.idleTimeOut = read.uint(4)
            open.properties = read[9]
            self = .open(open)
        case 0x11:
            var begin = Begin(
                remoteChannel: read[0].integer.map { UInt16(clamping: $0) }, nextOutgoingID: try read.demand(1),
                incomingWindow: try read.demand(2), outgoingWindow: try read.demand(3))
            begin.handleMax = read.uint(4) ?? .max
            self = .begin(begin)
        case 0x12:
            guard let name = read[0].text, let isReceiver = read[2].flag else {
                throw .decode("an attach without name or role")
            }
            var attach = Attach(name: name, handle: try read.demand(1), isReceiver: isReceiver)
            attach.senderSettleMode = UInt8(clamping: read[3].integer ?? 2)
            attach.receiverSettleMode = UInt8(clamping: read[4].integer ?? 0)
            attach.source = read[5]
            attach.target = read[6]
            attach.initialDeliveryCount = read.uint(9)
            if case .ulong(let size) = read[10] { attach.maxMessageSize = size }
            attach.properties = read[13]
            self = .attach(attach)
        case 0x13:
            var flow = Flow(
                nextIncomingID: read.uint(0), incomingWindow: try read.demand(1), nextOutgoingID: try read.demand(2),
                outgoingWindow: try read.demand(3), handle: read.uint(4), deliveryCount: read.uint(5),
                linkCredit: read.uint(6))
            flow.available = read.uint(7)
            flow.drain = read[8].flag ?? false
            flow.echo = read[9].flag ?? false
            self = .flow(flow)
        case 0x14:
            var transfer = Transfer(handle: try read.demand(0))
            transfer.deliveryID = read.uint(1)
            transfer.deliveryTag = read[2].bytes
            transfer.messageFormat = read.uint(3)
            transfer.isSettled = read[4].flag
            transfer.hasMore = read[5].flag ?? false
            transfer.isAborted = read[9].flag ?? false
            self = .transfer(transfer)
        case 0x15:
            self = .disposition(
                Disposition(
                    isReceiver: read[0].flag ?? true, first: try read.demand(1), last: read.uint(2),
                    isSettled: read[3].flag ?? false, state: AMQPOutcome(read[4])))
        case 0x16:
            self = .detach(
                Detach(handle: try read.demand(0), isClosed: read[1].flag ?? false, error: AMQPError(read[2])))
        case 0x17: self = .end(AMQPError(read[0]))
        case 0x18: self = .close(AMQPError(read[0]))
        case 0x40:
            self = .saslMechanisms(read[0].text.map { [$0] } ?? read[0].elements?.compactMap(\.text) ?? [])
        case 0x41:
            guard let mechanism = read[0].text else { throw .decode("a sasl-init without a mechanism") }
            self = .saslInit(mechanism: mechanism, response: read[1].bytes, hostName: read[2].text)
        case 0x42: self = .saslChallenge(read[0].bytes ?? ByteBuffer())
        case 0x43: self = .saslResponse(read[0].bytes ?? ByteBuffer())
        case 0x44: self = .saslOutcome(UInt8(clamping: read[0].integer ?? 1))
        default: throw .decode("there is no performative with the code \(code)")
        }
    }

    /// Every field is written, nulls at the end included: one client counts on it (service-api-observed.md, 5.3).
    var value: AMQPValue {
        switch self {
        case .open(let open):
            Self.described(
                0x10,
                [
                    .string(open.containerID), .optional(open.hostName), .uint(open.maxFrameSize),
                    .ushort(open.channelMax), .optional(open.idleTimeOut), .null, .null, .null, .null, open.properties,
                ])
        case .begin(let begin):
            Self.described(
                0x11,
                [
                    begin.remoteChannel.map { .ushort($0) } ?? .null, .uint(begin.nextOutgoingID),
                    .uint(begin.incomingWindow), .uint(begin.outgoingWindow), .uint(begin.handleMax), .null, .null,
                    .null,
                ])
        case .attach(let attach):
            Self.described(
                0x12,
                [
                    .string(attach.name), .uint(attach.handle), .boolean(attach.isReceiver),
                    .ubyte(attach.senderSettleMode), .ubyte(attach.receiverSettleMode), attach.source, attach.target,
                    .null, .null, .optional(attach.initialDeliveryCount ?? (attach.isReceiver ? nil : 0)),
                    attach.maxMessageSize.map { .ulong($0) } ?? .null, .null, .null, attach.properties,
                ])
        case .flow(let flow):
            Self.described(
                0x13,
                [
                    .optional(flow.nextIncomingID), .uint(flow.incomingWindow), .uint(flow.nextOutgoingID),
                    .uint(flow.outgoingWindow), .optional(flow.handle), .optional(flow.deliveryCount),
                    .optional(flow.linkCredit), .optional(flow.available), .boolean(flow.drain), .boolean(flow.echo),
                    .null,
                ])
        case .transfer(let transfer):
            Self.described(
                0x14,
                [
                    .uint(transfer.handle), .optional(transfer.deliveryID),
                    transfer.deliveryTag.map { .binary($0) } ?? .null, .optional(transfer.messageFormat),
                    transfer.isSettled.map { .boolean($0) } ?? .null, .boolean(transfer.hasMore), .null, .null, .null,
                    .boolean(transfer.isAborted), .null,
                ])
        case .disposition(let disposition):
            Self.described(
                0x15,
                [
                    .boolean(disposition.isReceiver), .uint(disposition.first), .optional(disposition.last),
                    .boolean(disposition.isSettled), disposition.state?.value ?? .null, .null,
                ])
        case .detach(let detach):
            Self.described(0x16, [.uint(detach.handle), .boolean(detach.isClosed), detach.error?.value ?? .null])
        case .end(let error): Self.described(0x17, [error?.value ?? .null])
        case .close(let error): Self.described(0x18, [error?.value ?? .null])
        case .saslMechanisms(let names): Self.described(0x40, [.array(names.map(AMQPValue.symbol))])
        case .saslInit(let mechanism, let response, let hostName):
            Self.described(
                0x41, [.symbol(mechanism), response.map { .binary($0) } ?? .null, .optional(hostName)])
        case .saslChallenge(let bytes): Self.described(0x42, [.binary(bytes)])
        case .saslResponse(let bytes): Self.described(0x43, [.binary(bytes)])
        case .saslOutcome(let code): Self.described(0x44, [.ubyte(code), .null])
        }
    }

    private static func described(_ code: UInt64, _ fields: [AMQPValue]) -> AMQPValue {
        .described(.ulong(code), .list(fields))
    }

    static func code(_ descriptor: AMQPValue) -> UInt64? {
        switch descriptor {
        case .ulong(let code): code
        case .symbol(let name): names[name]
        default: nil
        }
    }

    private static let names: [String: UInt64] = [
        "amqp:open:list": 0x10, "amqp:begin:list": 0x11, "amqp:attach:list": 0x12, "amqp:flow:list": 0x13,
        "amqp:transfer:list": 0x14, "amqp:disposition:list": 0x15, "amqp:detach:list": 0x16, "amqp:end:list": 0x17,
        "amqp:close:list": 0x18, "amqp:error:list": 0x1D, "amqp:accepted:list": 0x24, "amqp:rejected:list": 0x25,
        "amqp:released:list": 0x26, "amqp:modified:list": 0x27, "amqp:sasl-mechanisms:list": 0x40,
        "amqp:sasl-init:list": 0x41, "amqp:sasl-challenge:list": 0x42, "amqp:sasl-response:list": 0x43,
        "amqp:sasl-outcome:list": 0x44,
    ]
}

/// Fields of a performative by place; those beyond the end are null.
private struct Fields {
    private let fields: [AMQPValue]

    init(_ fields: [AMQPValue]) { self.fields = fields }

    subscript(place: Int) -> AMQPValue { place < fields.count ? fields[place] : .null }

    func uint(_ place: Int) -> UInt32? { self[place].integer.flatMap { UInt32(exactly: $0) } }

    func demand(_ place: Int) throws(AMQPDecodingError) -> UInt32 {
        guard let number = uint(place) else { throw .decode("a performative without its field \(place)") }
        return number
    }
}

extension AMQPError {
    init?(_ value: AMQPValue) {
        guard case .described(_, let list) = value, let fields = list.elements, let condition = fields.first?.text
        else {
            return nil
        }
        self.init(
            condition, fields.count > 1 ? fields[1].text : nil,
            information: fields.count > 2 ? fields[2].members ?? [] : [])
    }

    var value: AMQPValue {
        .described(
            .ulong(0x1D),
            .list([.symbol(condition), .optional(description), information.isEmpty ? .null : .map(information)]))
    }
}

extension AMQPOutcome {
    init?(_ value: AMQPValue) {
        guard case .described(let descriptor, let list) = value else { return nil }
        let fields = list.elements ?? []
        switch AMQPPerformative.code(descriptor) {
        case 0x24: self = .accepted
        case 0x25: self = .rejected(fields.first.flatMap { AMQPError($0) })
        case 0x26: self = .released
        case 0x27:
            self = .modified(
                failed: fields.first?.flag ?? false, undeliverable: fields.count > 1 ? fields[1].flag ?? false : false)
        default: self = .other
        }
    }

    var value: AMQPValue {
        switch self {
        case .accepted: .described(.ulong(0x24), .list([]))
        case .rejected(let error): .described(.ulong(0x25), .list([error?.value ?? .null]))
        case .released: .described(.ulong(0x26), .list([]))
        case .modified(let failed, let undeliverable):
            .described(.ulong(0x27), .list([.boolean(failed), .boolean(undeliverable), .null]))
        case .other: .null
        }
    }
}
