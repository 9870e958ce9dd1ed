import NIOCore
import Testing

@testable import AMQPCodec

@Suite struct AMQPConnectionTests {
    private typealias Link = AMQPConnection.Link
    private static let link = Link(channel: 0, handle: 0)

    private func bytes(_ frames: [AMQPFrame]) -> ByteBuffer {
        var buffer = ByteBuffer()
        for frame in frames { frame.write(to: &buffer) }
        return buffer
    }

    private static func attach(_ handle: UInt32, receives: Bool) -> AMQPFrame {
        var attach = AMQPPerformative.Attach(name: "l\(handle)", handle: handle, isReceiver: receives)
        if !receives { attach.initialDeliveryCount = 0 }
        return AMQPFrame(.attach(attach))
    }

    private static func transfer(
        _ handle: UInt32, _ delivery: UInt32?, _ text: String, more: Bool = false, aborted: Bool = false,
        settled: Bool? = nil
    ) -> AMQPFrame {
        var transfer = AMQPPerformative.Transfer(handle: handle)
        transfer.deliveryID = delivery
        transfer.deliveryTag = delivery.map { ByteBuffer(integer: $0) }
        transfer.hasMore = more
        transfer.isAborted = aborted
        transfer.isSettled = settled
        return AMQPFrame(.transfer(transfer), payload: ByteBuffer(string: text))
    }

    private static func flow(
        window: UInt32 = 1000, seen: UInt32 = 0, handle: UInt32? = nil, count: UInt32? = nil, credit: UInt32? = nil,
        drain: Bool = false
    ) -> AMQPFrame {
        var flow = AMQPPerformative.Flow(
            nextIncomingID: seen, incomingWindow: window, nextOutgoingID: 0, outgoingWindow: 100, handle: handle,
            deliveryCount: count, linkCredit: credit)
        flow.drain = drain
        return AMQPFrame(.flow(flow))
    }

    private static func begin(window: UInt32 = 1000) -> AMQPFrame {
        AMQPFrame(.begin(.init(remoteChannel: nil, nextOutgoingID: 0, incomingWindow: window, outgoingWindow: 10)))
    }

    /// A connection with one session.
    private func running(
        _ limits: AMQPConnection.Limits = AMQPConnection.Limits(), window: UInt32 = 1000, frameSize: UInt32 = .max
    ) -> AMQPConnection {
        let connection = AMQPConnection(containerID: "c", limits: limits)
        var open = AMQPPerformative.Open(containerID: "peer")
        open.maxFrameSize = frameSize
        _ = connection.receive(ByteBuffer(bytes: AMQPFrame.ProtocolHeader.amqp.bytes))
        _ = connection.receive(bytes([AMQPFrame(.open(open)), Self.begin(window: window)]))
        _ = connection.takeOutput()
        return connection
    }

    /// A link of that handle, accepted.
    private func attach(_ handle: UInt32, receives: Bool, on connection: AMQPConnection) -> Link {
        let link = Link(channel: 0, handle: handle)
        for event in connection.receive(bytes([Self.attach(handle, receives: receives)])) {
            if case .attach(let link, let attach) = event { #expect(connection.accept(link, attach)) }
        }
        _ = connection.takeOutput()
        return link
    }

    private func written(_ connection: AMQPConnection) throws -> [AMQPFrame] {
        var output = connection.takeOutput()
        var frames: [AMQPFrame] = []
        while let frame = try AMQPFrame(reading: &output, maximumSize: 1 << 21) { frames.append(frame) }
        return frames
    }

    // MARK: The same whole, in drips, and many at once

    private static let conversation: [AMQPFrame] = {
        var large = (0..<40).map { part in
            transfer(0, part == 0 ? 3 : nil, String(repeating: "x", count: 100), more: part < 39)
        }
        large.insert(flow(), at: 7)
        return [
            AMQPFrame(.open(.init(containerID: "peer"))), begin(), attach(0, receives: false),
            attach(1, receives: true), flow(handle: 1, count: 0, credit: 5), transfer(0, 0, "a"),
            transfer(0, 1, "b", settled: true), transfer(0, 2, "gone", more: true), transfer(0, nil, "", aborted: true),
            AMQPFrame(nil),
        ] + large + [
            AMQPFrame(.detach(.init(handle: 0, isClosed: true))), AMQPFrame(.end(nil)), AMQPFrame(.close(nil)),
        ]
    }()

    /// What happens on a connection that takes every link and settles every message.
    private func story(_ parts: [ByteBuffer]) -> [String] {
        let connection = AMQPConnection(containerID: "c")
        var story: [String] = []
        func handle(_ events: [AMQPConnection.Event]) {
            for event in events {
                switch event {
                case .authentication(let mechanism, _, _):
                    story.append("sasl \(mechanism)")
                    handle(connection.finishSASL(success: true))
                case .opened(let open): story.append("open \(open.containerID)")
                case .attach(let link, let attach):
                    story.append("attach \(link.handle)")
                    connection.accept(link, attach)
                case .creditChanged(let link): story.append("credit of \(link.handle)")
                case .windowOpened: story.append("window")
                case .message(let link, let delivery, _, let payload, let isSettled):
                    story.append("message \(link.handle) \(delivery) \(payload.readableBytes) \(isSettled)")
                    if !isSettled { connection.settle([delivery], channel: 0, .accepted) }
                case .outcome(_, let token, let outcome): story.append("outcome \(token) \(outcome)")
                case .detached(let link, _): story.append("detached \(link.handle)")
                case .closed(let error): story.append("closed \(error?.condition ?? "")")
                }
            }
        }
        for part in parts { handle(connection.receive(part)) }
        return story
    }

    /// What comes before the links are taken, and what needs them.
    private var conversationBytes: [ByteBuffer] {
        var all = ByteBuffer(bytes: AMQPFrame.ProtocolHeader.sasl.bytes)
        AMQPFrame(kind: .sasl, .saslInit(mechanism: "ANONYMOUS", response: nil, hostName: nil)).write(to: &all)
        all.writeBytes(AMQPFrame.ProtocolHeader.amqp.bytes)
        for frame in Self.conversation.prefix(4) { frame.write(to: &all) }
        return [all, bytes(Array(Self.conversation.dropFirst(4)))]
    }

    @Test func `A conversation means the same whole, byte by byte and in any pieces`() {
        let all = conversationBytes
        let whole = story(all)
        #expect(
            whole == [
                "sasl ANONYMOUS", "open peer", "attach 0", "attach 1", "credit of 1", "message 0 0 1 false",
                "message 0 1 1 true", "message 0 3 4000 false", "detached 0", "detached 1", "closed ",
            ])
        #expect(story(all.flatMap { $0.readableBytesView.map { ByteBuffer(integer: $0) } }) == whole)
        for _ in 0..<200 {
            var parts: [ByteBuffer] = []
            for var rest in all {
                while rest.readableBytes > 0 {
                    let length = Int.random(in: 1...max(1, min(rest.readableBytes, Int.random(in: 1...2000))))
                    rest.readSlice(length: length).map { parts.append($0) }
                }
            }
            #expect(story(parts) == whole)
        }
    }

    @Test func `Any bytes are dealt with or end the connection`() {
        let valid = conversationBytes.flatMap { Array($0.readableBytesView) }
        for _ in 0..<4_000 {
            var mutated = valid
            for _ in 0..<Int.random(in: 1...6) {
                mutated[Int.random(in: 8..<mutated.count)] = UInt8.random(in: 0...255)
            }
            if Bool.random() { mutated.removeSubrange(Int.random(in: 8..<200)..<Int.random(in: 200..<mutated.count)) }
            let cut = Int.random(in: 1..<mutated.count)
            _ = story([ByteBuffer(bytes: mutated[..<cut]), ByteBuffer(bytes: mutated[cut...])])
        }
        // Whole frames in any order reach further than broken ones do.
        for _ in 0..<2_000 {
            var all = ByteBuffer(bytes: AMQPFrame.ProtocolHeader.amqp.bytes)
            for frame in Self.conversation.prefix(2) { frame.write(to: &all) }
            for _ in 0..<12 { Self.conversation.randomElement()?.write(to: &all) }
            _ = story([all])
        }
    }

    @Test func `Credit that comes with the wish for a link counts`() {
        let connection = running()
        let events = connection.receive(
            bytes([Self.attach(0, receives: true), Self.flow(handle: 0, credit: 3)]))
        guard case .attach(let link, let attach)? = events.first else {
            Issue.record("\(events)")
            return
        }
        #expect(connection.credit(of: link) == 0)
        #expect(connection.accept(link, attach))
        #expect(connection.credit(of: link) == 3)
    }

    // MARK: What a peer may not do

    private func closing(_ frames: [AMQPFrame], on connection: AMQPConnection) -> String? {
        for event in connection.receive(bytes(frames)) {
            if case .closed(let error) = event { return error?.condition }
        }
        return nil
    }

    @Test func `A peer that breaks a rule is told which`() {
        #expect(
            closing([Self.transfer(7, 0, "x")], on: running()) == "amqp:session:errant-link")
        #expect(closing([Self.begin()], on: running()) == "amqp:not-allowed")
        #expect(closing([AMQPFrame(.open(.init(containerID: "again")))], on: running()) == "amqp:not-allowed")
        var limits = AMQPConnection.Limits()
        limits.credit = 2
        let connection = running(limits)
        _ = attach(0, receives: false, on: connection)
        #expect(
            closing((0..<3).map { Self.transfer(0, $0, "x") }, on: connection) == "amqp:link:transfer-limit-exceeded")
        let twice = running()
        _ = attach(0, receives: false, on: twice)
        #expect(closing([Self.attach(0, receives: false)], on: twice) == "amqp:session:handle-in-use")
        limits.links = 1
        let many = running(limits)
        _ = attach(0, receives: false, on: many)
        #expect(closing([Self.attach(1, receives: false)], on: many) == "amqp:resource-limit-exceeded")
    }

    @Test func `A message that is too large ends its link, and unfinished ones are bounded together`() throws {
        var limits = AMQPConnection.Limits()
        limits.messageSize = 10
        let connection = running(limits)
        let link = attach(0, receives: false, on: connection)
        let events = connection.receive(
            bytes([
                Self.transfer(0, 0, "123456", more: true), Self.transfer(0, nil, "789012", more: true),
                Self.transfer(0, nil, "on its way"),
            ]))
        #expect(events.contains { if case .detached(link, _) = $0 { true } else { false } })
        #expect(!connection.isClosed)
        let detach = try written(connection).compactMap { frame -> AMQPPerformative.Detach? in
            if case .detach(let detach) = frame.performative { detach } else { nil }
        }
        #expect(detach.map(\.error?.condition) == ["amqp:link:message-size-exceeded"])
        // The peer agrees, and may use the handle again.
        _ = connection.receive(bytes([AMQPFrame(.detach(.init(handle: 0, isClosed: true)))]))
        #expect(try written(connection).isEmpty)
        _ = attach(0, receives: false, on: connection)
        limits.messageSize = 1000
        limits.assemblySize = 15
        let bounded = running(limits)
        for handle: UInt32 in 0..<2 { _ = attach(handle, receives: false, on: bounded) }
        #expect(
            closing(
                [Self.transfer(0, 0, "12345678", more: true), Self.transfer(1, 1, "12345678", more: true)], on: bounded)
                == "amqp:resource-limit-exceeded")
    }

    // MARK: Credit and windows

    @Test func `Credit is given again when half of it is used and settled`() throws {
        var limits = AMQPConnection.Limits()
        limits.credit = 4
        let connection = running(limits)
        _ = attach(0, receives: false, on: connection)
        _ = connection.receive(bytes((0..<3).map { Self.transfer(0, $0, "x") }))
        #expect(try written(connection).isEmpty, "what is not settled counts as used")
        connection.settle([0, 1], channel: 0, .accepted)
        let frames = try written(connection)
        guard case .disposition(let settled)? = frames.first?.performative,
            case .flow(let flow)? = frames.last?.performative
        else {
            Issue.record("\(frames)")
            return
        }
        #expect(settled.first == 0 && settled.last == 1)
        #expect(flow.deliveryCount == 3 && flow.linkCredit == 3)
    }

    @Test func `Nothing is sent without credit or beyond the window of the session`() throws {
        let connection = running(window: 2)
        let link = attach(0, receives: true, on: connection)
        let message = ByteBuffer(string: "x")
        #expect(!connection.send(message, on: link, token: nil))
        _ = connection.receive(bytes([Self.flow(window: 2, handle: 0, count: 0, credit: 10)]))
        #expect(connection.send(message, on: link, token: 1))
        #expect(connection.send(message, on: link, token: 2))
        #expect(!connection.send(message, on: link, token: 3), "the window is full")
        #expect(try written(connection).count == 2)
        let events = connection.receive(bytes([Self.flow(window: 2, seen: 2)]))
        #expect(events.contains { if case .windowOpened(0) = $0 { true } else { false } })
        #expect(connection.credit(of: link) == 8)
        #expect(connection.send(message, on: link, token: 3))
    }

    @Test func `A message is cut to the frames that the peer takes, and waits for its window`() throws {
        let connection = running(window: 1, frameSize: 512)
        let link = attach(0, receives: true, on: connection)
        _ = connection.receive(bytes([Self.flow(window: 1, handle: 0, count: 0, credit: 10)]))
        #expect(connection.send(ByteBuffer(repeating: 7, count: 1000), on: link, token: nil))
        var frames = try written(connection)
        #expect(frames.count == 1)
        _ = connection.receive(bytes([Self.flow(window: 10, seen: 1)]))
        frames += try written(connection)
        #expect(frames.count == 3)
        #expect(frames.reduce(0) { $0 + $1.payload.readableBytes } == 1000)
        let more = frames.map { if case .transfer(let transfer) = $0.performative { transfer.hasMore } else { false } }
        #expect(more == [true, true, false])
    }

    @Test func `A peer that drains gets its credit back`() throws {
        let connection = running()
        let link = attach(0, receives: true, on: connection)
        _ = connection.receive(bytes([Self.flow(handle: 0, count: 0, credit: 10, drain: true)]))
        #expect(connection.send(ByteBuffer(string: "x"), on: link, token: nil))
        connection.drained(link)
        guard case .flow(let flow)? = try written(connection).last?.performative else {
            Issue.record("no flow")
            return
        }
        #expect(flow.drain && flow.deliveryCount == 10 && flow.linkCredit == 0)
        #expect(connection.credit(of: link) == 0)
    }

    @Test func `Outcomes come by token, for any range that the peer names`() throws {
        let connection = running()
        let link = attach(0, receives: true, on: connection)
        _ = connection.receive(bytes([Self.flow(handle: 0, count: 0, credit: 10)]))
        for token: UInt64 in 10..<14 { #expect(connection.send(ByteBuffer(string: "x"), on: link, token: token)) }
        func outcomes(_ first: UInt32, _ last: UInt32?, settled: Bool = true) -> [UInt64] {
            let frame = AMQPFrame(
                .disposition(
                    .init(isReceiver: true, first: first, last: last, isSettled: settled, state: .accepted)))
            return connection.receive(bytes([frame])).compactMap {
                if case .outcome(_, let token, .accepted) = $0 { token } else { nil }
            }
        }
        #expect(outcomes(1, nil) == [11])
        #expect(outcomes(1, nil) == [])
        #expect(outcomes(.max - 5, 0) == [10])
        #expect(outcomes(0, .max - 1) == [12, 13])
        #expect(outcomes(0, .max) == [])
        _ = connection.send(ByteBuffer(string: "x"), on: link, token: 20)
        let events = connection.receive(bytes([AMQPFrame(.detach(.init(handle: 0, isClosed: true)))]))
        #expect(events.contains { if case .detached(link, unsettled: [20]) = $0 { true } else { false } })
    }

    // MARK: The performative of every message

    @Test func `A transfer reads the same by the short way and by the general one`() throws {
        for _ in 0..<2_000 {
            var transfer = AMQPPerformative.Transfer(handle: [0, 7, 300].randomElement() ?? 0)
            transfer.deliveryID = [nil, 0, 9, 70_000].randomElement() ?? nil
            transfer.deliveryTag = [nil, ByteBuffer(), ByteBuffer(bytes: [1, 2])].randomElement() ?? nil
            transfer.messageFormat = [nil, 0, AMQPMessage.batchFormat].randomElement() ?? nil
            transfer.isSettled = [nil, true, false].randomElement() ?? nil
            transfer.hasMore = .random()
            transfer.isAborted = .random()
            var short = ByteBuffer()
            transfer.write(to: &short)
            var general = ByteBuffer()
            AMQPPerformative.transfer(transfer).value.write(to: &general)
            #expect(short == general)
            var copy = short
            #expect(AMQPPerformative.Transfer(takingFrom: &copy) == transfer)
            #expect(copy.readableBytes == 0)
            // A byte that is another: what the short way takes, the general one takes too, and alike.
            var bytes = Array(short.readableBytesView)
            bytes[Int.random(in: 3..<bytes.count)] = .random(in: 0...255)
            var mutated = ByteBuffer(bytes: bytes)
            guard let taken = AMQPPerformative.Transfer(takingFrom: &mutated) else { continue }
            var same = ByteBuffer(bytes: bytes)
            guard case .transfer(let read)? = try? AMQPPerformative(AMQPValue(reading: &same)) else {
                Issue.record("only the short way reads \(bytes)")
                continue
            }
            #expect(read == taken)
            #expect(same == mutated)
        }
    }

    @Test(arguments: ["00010203-0405-0607-0809-0a0b0c0d0e0f", "ffffffff-ffff-ffff-ffff-ffffffffffff"])
    func `A UUID reads as it is written`(text: String) {
        #expect(AMQPUUID(parsing: text)?.description == text)
        #expect(AMQPUUID(parsing: text.uppercased())?.description == text)
        #expect(AMQPUUID(parsing: String(text.dropLast())) == nil)
        #expect(AMQPUUID(parsing: "g" + text.dropFirst()) == nil)
        #expect(AMQPUUID(parsing: text).flatMap { AMQPUUID($0.bytes) }?.description == text)
    }
}
