import NIOCore
import Testing

@testable import AMQPCodec

@Suite struct AMQPCodecTests {
    private static let values: [AMQPValue] = [
        .null, .boolean(true), .boolean(false), .ubyte(255), .ushort(65535), .uint(0), .uint(200), .uint(70000),
        .ulong(0), .ulong(7), .ulong(.max), .byte(-1), .short(-300), .int(-5), .int(70000), .long(-5), .long(.min),
        .float(1.5), .double(-2.25), .decimal([1, 2, 3, 4]), .char(0x1F600), .timestamp(-1),
        .uuid(AMQPUUID(high: 1, low: 2)), .binary(ByteBuffer(bytes: [0, 255])), .string("é"), .symbol("a:b"),
        .string(String(repeating: "x", count: 300)), .list([]), .list([.null, .list([.uint(1)])]),
        .map([AMQPMember(.symbol("k"), .string("v"))]), .array([.symbol("a"), .symbol("bc")]),
        .array([.int(1), .int(300)]),
        .described(.ulong(0x24), .list([])), .list((0..<300).map { .uint($0) }),
    ]

    @Test(arguments: values) func `A value of each type comes back as it went out`(value: AMQPValue) throws {
        var buffer = ByteBuffer()
        value.write(to: &buffer)
        #expect(try AMQPValue(reading: &buffer) == value)
        #expect(buffer.readableBytes == 0)
    }

    private static let frames: [AMQPFrame] = {
        var open = AMQPPerformative.Open(containerID: "c")
        open.hostName = "hub"
        open.idleTimeOut = 240_000
        var attach = AMQPPerformative.Attach(name: "l", handle: 3, isReceiver: false)
        attach.initialDeliveryCount = 0
        attach.target = .described(.ulong(0x29), .list([.string("$cbs")]))
        var transfer = AMQPPerformative.Transfer(handle: 3)
        transfer.deliveryID = 9
        transfer.deliveryTag = ByteBuffer(bytes: [1])
        return [
            AMQPFrame(nil), AMQPFrame(.open(open)),
            AMQPFrame(
                channel: 4,
                .begin(.init(remoteChannel: 4, nextOutgoingID: 1, incomingWindow: 2, outgoingWindow: 3))),
            AMQPFrame(channel: 4, .attach(attach)),
            AMQPFrame(.flow(.init(nextIncomingID: 0, incomingWindow: 1, nextOutgoingID: 2, outgoingWindow: 3))),
            AMQPFrame(.transfer(transfer), payload: ByteBuffer(string: "message")),
            AMQPFrame(
                .disposition(
                    .init(
                        isReceiver: true, first: 1, last: 2, isSettled: true,
                        state: .rejected(AMQPError("amqp:not-found", "no"))))),
            AMQPFrame(.detach(.init(handle: 1, isClosed: true, error: AMQPError("amqp:link:redirect")))),
            AMQPFrame(.end(nil)), AMQPFrame(.close(AMQPError("amqp:internal-error"))),
            AMQPFrame(kind: .sasl, .saslMechanisms(["PLAIN", "ANONYMOUS"])),
            AMQPFrame(kind: .sasl, .saslInit(mechanism: "PLAIN", response: ByteBuffer(string: "x"), hostName: "h")),
            AMQPFrame(kind: .sasl, .saslOutcome(0)),
        ]
    }()

    @Test func `Frames come back the same whole, byte by byte and many at once`() throws {
        var all = ByteBuffer()
        for frame in Self.frames { frame.write(to: &all) }
        var whole = all
        var read: [AMQPFrame] = []
        while let frame = try AMQPFrame(reading: &whole, maximumSize: 65536) { read.append(frame) }
        #expect(read.map(\.performative) == Self.frames.map(\.performative))
        #expect(read.map(\.payload) == Self.frames.map(\.payload))

        var dripped = ByteBuffer()
        var slowly: [AMQPFrame] = []
        for byte in all.readableBytesView {
            dripped.writeInteger(byte)
            while let frame = try AMQPFrame(reading: &dripped, maximumSize: 65536) { slowly.append(frame) }
        }
        #expect(slowly.map(\.performative) == Self.frames.map(\.performative))
    }

    @Test func `Performatives carry every field, as one client counts on`() throws {
        for (frame, count) in zip(Self.frames.dropFirst(), [10, 8, 14, 11, 11, 6, 3, 1, 1]) {
            guard case .described(_, .list(let fields))? = frame.performative?.value else {
                Issue.record("no list")
                continue
            }
            #expect(fields.count == count)
        }
    }

    @Test func `A message keeps annotations, properties, types of ids and its body`() throws {
        var message = AMQPMessage()
        message.messageAnnotations = [AMQPMember(.symbol("x-opt-offset"), .string("12"))]
        message.properties.messageID = .uuid(AMQPUUID(high: 1, low: 2))
        message.properties.contentType = "application/json"
        message.applicationProperties = [AMQPMember(.string("level"), .string("info"))]
        message.body = .data(ByteBuffer(string: "{}"))
        var buffer = ByteBuffer()
        message.write(to: &buffer)
        let read = try AMQPMessage(reading: buffer)
        #expect(read == message)
        #expect(read.annotation("x-opt-offset")?.text == "12")
        #expect(read.applicationProperty("level")?.text == "info")
    }

    @Test(
        arguments: [
            [0x00, 0x00, 0x00, 0x04, 2, 0, 0, 0], [0x7F, 0, 0, 0, 2, 0, 0, 0], [0, 0, 0, 8, 1, 0, 0, 0],
            [0, 0, 0, 8, 9, 0, 0, 0], [0, 0, 0, 8, 2, 7, 0, 0], [0, 0, 0, 9, 2, 0, 0, 0, 0x40],
        ] as [[UInt8]]) func `A frame that cannot be is refused`(bytes: [UInt8])
    {
        var buffer = ByteBuffer(bytes: bytes)
        #expect(throws: AMQPDecodingError.self) { try AMQPFrame(reading: &buffer, maximumSize: 65536) }
    }

    @Test func `Depth and counts are bounded`() {
        var deep = ByteBuffer(repeating: 0x00, count: 5000)
        #expect(throws: AMQPDecodingError.self) { try AMQPValue(reading: &deep) }
        var liar = ByteBuffer(bytes: [0xD0, 0, 0, 0, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0x40])
        #expect(throws: AMQPDecodingError.self) { try AMQPValue(reading: &liar) }
        var empties = ByteBuffer(bytes: [0xF0, 0, 0, 0, 5, 0x7F, 0xFF, 0xFF, 0xFF, 0x40])
        #expect(throws: AMQPDecodingError.self) { try AMQPValue(reading: &empties) }
    }

    @Test func `Any bytes are read or refused, never more`() throws {
        var valid = ByteBuffer()
        for frame in Self.frames { frame.write(to: &valid) }
        let bytes = Array(valid.readableBytesView)
        for _ in 0..<20_000 {
            var mutated = bytes
            for _ in 0..<Int.random(in: 1...4) {
                mutated[Int.random(in: 0..<mutated.count)] = UInt8.random(in: 0...255)
            }
            var buffer = ByteBuffer(bytes: mutated.suffix(Int.random(in: 1...mutated.count)))
            do {
                while let frame = try AMQPFrame(reading: &buffer, maximumSize: 65536) {
                    _ = try? AMQPMessage(reading: frame.payload)
                }
            } catch {}
        }
    }
}
