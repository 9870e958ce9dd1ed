import NIOCore
import Testing

@testable import MQTTCodec

@Suite struct MQTTCodecTests {
    static let samples: [MQTTPacket] = [
        .connect(
            MQTTConnect(
                clientID: "pi/Sunshine", cleanSession: false, keepAlive: 60,
                will: .init(
                    topic: ByteBuffer(string: "devices/pi/messages/events/"), payload: ByteBuffer(string: "gone"),
                    quality: .atLeastOnce),
                userName: "hub.example/pi/Sunshine/?api-version=2019-10-01", password: ByteBuffer(string: "secret"))),
        .connect(MQTTConnect(clientID: "pi", cleanSession: true, keepAlive: 0)),
        .connectAnswer(sessionPresent: true, .accepted),
        .connectAnswer(sessionPresent: false, .notAuthorized),
        .publish(MQTTPublish(topic: ByteBuffer(string: "a/b"), payload: ByteBuffer(string: "x"))),
        .publish(
            MQTTPublish(
                topic: ByteBuffer(string: "a"), payload: ByteBuffer(repeating: 7, count: 20_000),
                quality: .atLeastOnce, packetID: 65_535, isDuplicate: true, isRetained: true)),
        .publish(MQTTPublish(topic: ByteBuffer(), payload: ByteBuffer(), quality: .exactlyOnce, packetID: 1)),
        .publishAnswer(1), .publishReceived(2), .publishRelease(3), .publishComplete(4),
        .subscribe(
            9, [.init(filter: "$iothub/twin/res/#", quality: .atLeastOnce), .init(filter: "x", quality: .exactlyOnce)]),
        .subscribeAnswer(9, [.atLeastOnce, nil, .atMostOnce]),
        .unsubscribe(10, ["a", "b/#"]), .unsubscribeAnswer(10), .pingRequest, .pingAnswer, .disconnect,
    ]

    static func bytes(_ packets: [MQTTPacket]) -> [UInt8] {
        var buffer = ByteBuffer()
        for packet in packets { buffer.writeMQTT(packet) }
        return Array(buffer.readableBytesView)
    }

    @Test(arguments: samples)
    func `A packet is read as it was written, in whatever pieces it comes`(packet: MQTTPacket) {
        let decoded = expectSameHoweverFed(Self.bytes([packet]))
        #expect(decoded.packets == [packet])
        #expect(decoded.error == nil)
        #expect(decoded.rest == 0)
    }

    @Test func `Many packets in one read come out in their order`() {
        let decoded = expectSameHoweverFed(Self.bytes(Self.samples + Self.samples))
        #expect(decoded.packets == Self.samples + Self.samples)
    }

    @Test func `The bytes of the standard's example are read`() {
        let decoded = expectSameHoweverFed([0x30, 0x07, 0x00, 0x03, 0x61, 0x2F, 0x62, 0x68, 0x69])
        #expect(
            decoded.packets == [
                .publish(MQTTPublish(topic: ByteBuffer(string: "a/b"), payload: ByteBuffer(string: "hi")))
            ])
    }

    @Test(
        arguments: [
            ([0xF0, 0x00], .reservedPacketType(15)),
            ([0x00, 0x00], .reservedPacketType(0)),
            ([0x36, 0x02, 0x00, 0x00], .wrongFlags(packetType: 3)),
            ([0x80, 0x02, 0x00, 0x01], .wrongFlags(packetType: 8)),
            ([0x30, 0x80, 0x80, 0x80, 0x80, 0x01], .lengthTooLong),
            ([0x30, 0xFF, 0xFF, 0xFF, 0x7F], .packetTooLarge(size: 268_435_455)),
            ([0x30, 0x02, 0x00, 0x01], .malformed(packetType: 3)),
            ([0x30, 0x00], .malformed(packetType: 3)),
            ([0x32, 0x04, 0x00, 0x00, 0x00, 0x00], .zeroPacketID(packetType: 3)),
            ([0x40, 0x02, 0x00, 0x00], .zeroPacketID(packetType: 4)),
            ([0x40, 0x03, 0x00, 0x01, 0x00], .malformed(packetType: 4)),
            ([0x82, 0x02, 0x00, 0x01], .malformed(packetType: 8)),
            ([0x82, 0x06, 0x00, 0x01, 0x00, 0x01, 0xFF, 0x00], .notUTF8(packetType: 8)),
            ([0x10, 0x04, 0x00, 0x02, 0x41, 0x42], .notMQTT),
            ([0xC0, 0x01, 0x00], .malformed(packetType: 12)),
        ] as [([UInt8], MQTTDecodingError)])
    func `Bytes that are no MQTT are refused`(bytes: [UInt8], error: MQTTDecodingError) {
        #expect(expectSameHoweverFed(bytes).error == error)
    }

    @Test func `A CONNECT of another version is recognised without reading what it cannot know`() {
        let five: [UInt8] = [0x10, 0x0D, 0, 4, 0x4D, 0x51, 0x54, 0x54, 5, 2, 0, 60, 0, 0, 0]
        guard case .connect(let connect) = expectSameHoweverFed(five).packets.first else {
            Issue.record("no CONNECT")
            return
        }
        #expect(connect.protocolLevel == 5)
    }

    @Test func `Random bytes and damaged packets never trap, however they are fed`() {
        var random = RepeatableRandom(state: 42)
        let whole = Self.bytes(Self.samples.filter { Self.bytes([$0]).count < 500 })
        for _ in 0..<3000 {
            var stream: [UInt8]
            if Bool.random(using: &random) {
                stream = (0..<Int.random(in: 0...64, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
            } else {
                stream = whole
                for _ in 0...Int.random(in: 0...4, using: &random) {
                    stream[Int.random(in: 0..<stream.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                stream = Array(stream.suffix(Int.random(in: 0...stream.count, using: &random)))
            }
            _ = expectSameHoweverFed(stream)
        }
    }
}
