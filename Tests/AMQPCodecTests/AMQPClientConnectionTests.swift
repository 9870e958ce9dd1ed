import AMQPCodec
import NIOCore
import Testing

/// The client's machine against the server's, bytes from one to the other.
@Suite struct AMQPClientConnectionTests {
    private struct Pair {
        var client = AMQPClientConnection(containerID: "client", hostName: "hub.test")
        var server = AMQPConnection(containerID: "server")
        var clientEvents: [AMQPClientConnection.Event] = []
        var attached: [(link: AMQPConnection.Link, attach: AMQPPerformative.Attach)] = []
        var received: [(link: AMQPConnection.Link, delivery: UInt32, payload: ByteBuffer)] = []
        var refuses = false
        /// Bytes that go over at a time.
        var piece = Int.max

        init(piece: Int = .max) {
            self.piece = piece
            client.start()
            exchange()
        }

        /// Carries bytes until nobody has more to say.
        mutating func exchange() {
            while true {
                let up = client.takeOutput()
                let down = server.takeOutput()
                guard up.readableBytes + down.readableBytes > 0 else { return }
                for part in pieces(up) { for event in server.receive(part) { handle(event) } }
                for part in pieces(down) { clientEvents += client.receive(part) }
            }
        }

        private func pieces(_ bytes: ByteBuffer) -> [ByteBuffer] {
            var bytes = bytes
            var parts: [ByteBuffer] = []
            while bytes.readableBytes > 0 {
                if let part = bytes.readSlice(length: min(piece, bytes.readableBytes)) { parts.append(part) }
            }
            return parts
        }

        private mutating func handle(_ event: AMQPConnection.Event) {
            switch event {
            case .authentication: for event in server.finishSASL(success: true) { handle(event) }
            case .attach(let link, let attach):
                if refuses {
                    server.refuse(link, attach, AMQPError("amqp:unauthorized-access", "no"))
                } else {
                    attached.append((link, attach))
                    server.accept(link, attach)
                }
            case .message(let link, let delivery, _, let payload, _): received.append((link, delivery, payload))
            default: break
            }
        }

        mutating func attach(_ name: String, isReceiver: Bool, credit: UInt32 = 100) throws -> AMQPClientConnection.Link
        {
            let link = client.attach(name: name, isReceiver: isReceiver, address: "/a/\(name)", credit: credit)
            exchange()
            return try #require(link)
        }
    }

    @Test(arguments: [1, 7, Int.max])
    func `Messages go up in order and come back with their outcomes, however the bytes are cut`(piece: Int) throws {
        var pair = Pair(piece: piece)
        guard case .ready = pair.clientEvents.last else {
            Issue.record("not ready: \(pair.clientEvents)")
            return
        }
        let link = try pair.attach("up", isReceiver: false)
        #expect(pair.attached.map(\.attach.name) == ["up"])
        #expect(AMQPPerformative.Attach.address(pair.attached[0].attach.target) == "/a/up")
        #expect(pair.client.credit(of: link) == 300)
        // One that takes several frames, and more than a session's window in all.
        let large = ByteBuffer(repeating: 7, count: 200_000)
        var sent = 0
        for number in 0..<20 {
            let message = number == 3 ? large : ByteBuffer(string: "\(number)")
            if pair.client.send(message, on: link, token: UInt64(number)) { sent += 1 }
        }
        pair.exchange()
        #expect(sent == 20)
        #expect(pair.received.count == 20)
        #expect(pair.received[3].payload == large)
        #expect(pair.received.enumerated().allSatisfy { $0 == 3 || String(buffer: $1.payload) == "\($0)" })
        pair.server.settle(pair.received.map(\.delivery).dropLast(), channel: 0, .accepted)
        pair.server.settle([pair.received[19].delivery], channel: 0, .rejected(AMQPError("amqp:internal-error")))
        pair.exchange()
        let outcomes = pair.clientEvents.compactMap { event -> (UInt64, AMQPOutcome)? in
            if case .outcome(link, let token, let outcome) = event { (token, outcome) } else { nil }
        }
        #expect(outcomes.map(\.0) == (0..<20).map(UInt64.init))
        #expect(outcomes.dropLast().allSatisfy { $0.1 == .accepted })
        #expect(outcomes.last?.1 == .rejected(AMQPError("amqp:internal-error")))
    }

    @Test func `Without credit nothing is sent, and settling brings new credit`() throws {
        var pair = Pair()
        let link = try pair.attach("up", isReceiver: false)
        var sent = 0
        while pair.client.send(ByteBuffer(string: "x"), on: link, token: UInt64(sent)) { sent += 1 }
        #expect(sent == 300)
        pair.exchange()
        #expect(pair.client.credit(of: link) == 0)
        pair.server.settle(pair.received.map(\.delivery), channel: 0, .accepted)
        pair.exchange()
        #expect(pair.client.credit(of: link) == 300)
    }

    @Test func `Messages come down within the credit, which is topped up as they are settled`() throws {
        var pair = Pair()
        let link = try pair.attach("down", isReceiver: true, credit: 10)
        let remote = pair.attached[0].link
        func deliveries() -> [UInt32] {
            pair.clientEvents.compactMap { event in
                if case .message(link, let delivery, _, false) = event { delivery } else { nil }
            }
        }
        for number in 0..<10 {
            let isSent = pair.server.send(ByteBuffer(string: "\(number)"), on: remote, token: UInt64(number))
            #expect(isSent)
        }
        let isBeyond = pair.server.send(ByteBuffer(string: "more"), on: remote, token: 99)
        #expect(!isBeyond)
        pair.exchange()
        #expect(deliveries().count == 10)
        for delivery in deliveries() { pair.client.settle(delivery, .accepted) }
        pair.exchange()
        #expect(pair.server.credit(of: remote) == 10)
    }

    @Test func `A link that is refused ends with the reason, and the connection goes on`() throws {
        var pair = Pair()
        pair.refuses = true
        let link = try pair.attach("up", isReceiver: false)
        let ends = pair.clientEvents.compactMap { event -> String? in
            if case .detached(link, let error) = event { error?.condition } else { nil }
        }
        #expect(ends == ["amqp:unauthorized-access"])
        pair.refuses = false
        _ = try pair.attach("up", isReceiver: false)
        #expect(pair.attached.count == 1)
    }

    @Test func `What is no AMQP ends the connection and nothing else`() {
        var random = SystemRandomNumberGenerator()
        for round in 0..<2_000 {
            var pair = Pair()
            _ = pair.client.attach(name: "a", isReceiver: round % 2 == 0, address: "a")
            pair.exchange()
            var bytes = pair.server.takeOutput()
            pair.server.keepAlive()
            bytes.writeImmutableBuffer(pair.server.takeOutput())
            for _ in 0..<Int.random(in: 1...40, using: &random) {
                bytes.writeInteger(UInt8.random(in: 0...255, using: &random))
            }
            if round % 3 == 0 { bytes.setInteger(UInt32(bytes.readableBytes), at: bytes.readerIndex) }
            _ = pair.client.receive(bytes)
            _ = pair.client.takeOutput()
        }
        var client = AMQPClientConnection(containerID: "client", hostName: "hub.test")
        client.start()
        _ = client.receive(ByteBuffer(string: "HTTP/1.1 400 Bad Request\r\n"))
        #expect(client.isClosed)
    }
}
