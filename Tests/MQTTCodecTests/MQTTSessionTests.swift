import NIOCore
import Testing

@testable import MQTTCodec

@Suite struct PacketWindowTests {
    @Test func `Ids rise from one and a full window takes no more`() {
        var window = PacketWindow<String>(limit: 2)
        #expect(window.append("a") == 1)
        #expect(window.append("b") == 2)
        #expect(window.append("c") == nil)
        #expect(window.remove(1) == "a")
        #expect(window.append("c") == 3)
    }

    @Test func `Acknowledgements may come in any order, and only once`() {
        var window = PacketWindow<Int>(limit: 10)
        for number in 1...4 { _ = window.append(number) }
        #expect(window.remove(3) == 3)
        #expect(window.remove(3) == nil)
        #expect(window.remove(0) == nil)
        #expect(window.remove(9) == nil)
        #expect(window.unacknowledged.map(\.id) == [1, 2, 4])
        #expect(window.remove(1) == 1)
        #expect(window.removeAll() == [2, 4])
        #expect(window.isEmpty)
        #expect(window.append(5) == 5)
    }

    @Test func `Ids go round without ever being zero`() {
        var window = PacketWindow<Int>(limit: 3)
        var last: MQTTPacketID = 0
        for number in 0..<140_000 {
            let id = window.append(number)
            #expect(id == last % 65_535 + 1)
            last = id ?? 0
            #expect(window.remove(last) == number)
        }
    }
}

@Suite struct MQTTServerSessionTests {
    private func connected() -> MQTTServerSession<String> {
        var session = MQTTServerSession<String>(window: 2)
        _ = session.receive(.connect(MQTTConnect(clientID: "d")))
        var out = ByteBuffer()
        session.accept(sessionPresent: true, to: &out)
        #expect(Array(out.readableBytesView) == [0x20, 2, 1, 0])
        return session
    }

    @Test func `Anything before CONNECT, and a second CONNECT, close the connection`() {
        var fresh = MQTTServerSession<String>(window: 1)
        guard case .violation = fresh.receive(.pingRequest) else {
            Issue.record("taken")
            return
        }
        var session = connected()
        guard case .violation = session.receive(.connect(MQTTConnect(clientID: "d"))) else {
            Issue.record("taken")
            return
        }
        guard case .nothing = session.receive(.pingRequest) else {
            Issue.record("taken after the end")
            return
        }
    }

    @Test func `A publish with quality of service 2 closes the connection`() {
        var session = connected()
        let publish = MQTTPublish(topic: ByteBuffer(), payload: ByteBuffer(), quality: .exactlyOnce, packetID: 1)
        guard case .violation = session.receive(.publish(publish)) else {
            Issue.record("taken")
            return
        }
    }

    @Test func `A delivery is acknowledged by its tag, and the window holds back the next`() {
        var session = connected()
        var out = ByteBuffer()
        #expect(session.deliver(topic: ByteBuffer(string: "t"), payload: ByteBuffer(), tag: "a", to: &out))
        #expect(session.deliver(topic: ByteBuffer(string: "t"), payload: ByteBuffer(), tag: "b", to: &out))
        let written = out.readableBytes
        #expect(!session.deliver(topic: ByteBuffer(string: "t"), payload: ByteBuffer(), tag: "c", to: &out))
        #expect(out.readableBytes == written)
        guard case .acknowledged("a") = session.receive(.publishAnswer(1)) else {
            Issue.record("not known")
            return
        }
        guard case .nothing = session.receive(.publishAnswer(1)) else {
            Issue.record("known twice")
            return
        }
    }

    @Test func `Acknowledgements leave in the order of the packets, whatever is done first`() {
        var queue = AcknowledgementQueue()
        let first = queue.append([1, 2])
        _ = queue.append([3], isDone: true)
        let third = queue.append([4])
        var out = ByteBuffer()
        queue.complete(third)
        queue.writeDue(to: &out)
        #expect(out.readableBytes == 0)
        queue.complete(first)
        queue.writeDue(to: &out)
        #expect(
            Array(out.readableBytesView) == [
                0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3, 0x40, 2, 0, 4,
            ])
        #expect(queue.isEmpty)
        queue.complete(99)
    }
}
