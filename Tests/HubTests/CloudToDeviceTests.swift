import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import JSONDocument
import Model
import NIOCore
import Synchronization
import Testing

@testable import Hub

/// A wall clock that stands until it is moved.
final class StandingClock: Sendable {
    private let time = Mutex(Timestamp(seconds: 1_800_000_000))
    var now: Timestamp { time.withLock { $0 } }
    func pass(_ duration: Duration) { time.withLock { $0 = $0.after(duration) } }
}

private final class Tally: Sendable {
    private let texts = Mutex<[String]>([])
    var all: [String] { texts.withLock { $0 } }
    func add(_ text: String) { texts.withLock { $0.append(text) } }
}

@Suite struct CloudToDeviceTests {
    private let pi = IdentityKey(device: "pi")
    private let module = IdentityKey(device: "pi", module: "m")

    private func withBench(_ body: (HubBench, StandingClock) async throws -> Void) async throws {
        let clock = StandingClock()
        let bench = try await HubBench(now: { clock.now })
        do { try await body(bench, clock) } catch {
            await bench.remove()
            throw error
        }
        await bench.remove()
    }

    private func properties(_ bag: String) -> MessageProperties { MessageProperties(bag: ByteBuffer(string: bag)) }

    private func send(_ bench: HubBench, _ body: String, _ bag: String = "", to key: IdentityKey? = nil) async throws {
        try await bench.registry.send(properties(bag), ByteBuffer(string: body), to: key ?? pi)
    }

    private func next(_ session: TestSession) async throws -> (token: DeliveryToken, message: CloudToDeviceMessage) {
        guard case .cloudToDevice(let token, let message)? = await session.next() else {
            throw HubError(.serverError, "something else came")
        }
        return (token, message)
    }

    private func waitUntil(_ condition: () async throws -> Bool) async throws {
        while try await !condition() { await Task.yield() }
    }

    private func count(_ bench: HubBench, _ key: IdentityKey? = nil) async throws -> Int {
        try await bench.registry.identity(key ?? pi).waitingMessages
    }

    @Test func `Messages reach who listens, in order, and leave the queue when they are completed`() async throws {
        try await withBench { bench, _ in
            let key = try await bench.register(pi)
            try await send(bench, "1", "$.mid=a&colour=red")
            let session = try await bench.connect(pi, key, listeningTo: [.cloudToDevice])
            try await send(bench, "2")
            let (first, second) = (try await next(session), try await next(session))
            #expect(String(buffer: first.message.event.body) == "1")
            #expect(String(buffer: first.message.event.propertyBag) == "$.mid=a&colour=red")
            #expect(String(buffer: second.message.event.body) == "2")
            #expect(first.message.sequenceNumber < second.message.sequenceNumber)
            #expect(!first.message.isRedelivery)
            #expect(try await count(bench) == 2)
            bench.backend.settled(first.token, .completed, by: session)
            bench.backend.settled(second.token, .rejected, by: session)
            try await waitUntil { try await count(bench) == 0 }
        }
    }

    @Test func `A queue holds fifty messages of 64 KB, for those who are there and enabled`() async throws {
        try await withBench { bench, clock in
            try await bench.register(pi)
            try await bench.register(module)
            func refusal(_ body: String, _ bag: String = "", to key: IdentityKey? = nil) async -> HubErrorCode? {
                await #expect(throws: HubError.self) { try await send(bench, body, bag, to: key) }?.code
            }
            #expect(await refusal("", to: IdentityKey(device: "nobody")) == .deviceNotFound)
            #expect(await refusal("", to: IdentityKey(device: "pi", module: "nobody")) == .moduleNotFound)
            #expect(await refusal(String(repeating: "x", count: 65_537)) == .messageTooLarge)
            #expect(await refusal("", "$.exp=2020-01-01T00%3A00%3A00Z") == .invalidMessageExpiryTime)
            #expect(await refusal("", "$.exp=tomorrow") == .invalidMessageExpiryTime)
            #expect(await refusal("", "iothub-ack=maybe") == .argumentInvalid)
            for number in 0..<50 { try await send(bench, "\(number)") }
            #expect(await refusal("51") == .deviceMaximumQueueDepthExceeded)
            try await send(bench, "", to: module)
            #expect(try await count(bench) == 50)
            #expect(try await count(bench, module) == 1)
            clock.pass(.seconds(3601))
            try await send(bench, "after the others have expired")
            #expect(try await count(bench) == 1)
            _ = try await bench.registry.put(IdentityRequest(["status": "disabled"], for: pi), condition: .any)
            #expect(await refusal("") == .deviceNotFound)
        }
    }

    @Test func `What a connection held goes to the next one, with a mark, and a lock that ends does so too`()
        async throws
    {
        try await withBench { bench, clock in
            let key = try await bench.register(pi)
            let first = try await bench.connect(pi, key, listeningTo: [.cloudToDevice])
            try await send(bench, "1")
            let taken = try await next(first)
            bench.backend.closed(first)
            let second = try await bench.connect(pi, key, listeningTo: [.cloudToDevice])
            let again = try await next(second)
            #expect(again.token == taken.token && again.message.isRedelivery)
            #expect(again.message.deliveryCount == 0)
            // What the first connection says now means nothing.
            bench.backend.settled(taken.token, .completed, by: first)
            clock.pass(.seconds(61))
            await bench.backend.messages.sweep()
            let third = try await next(second)
            #expect(third.token == taken.token && third.message.deliveryCount == 0)
            bench.backend.settled(third.token, .completed, by: second)
            try await waitUntil { try await count(bench) == 0 }
        }
    }

    @Test func `Only an explicit abandon counts, and the tenth ends the message`() async throws {
        try await withBench { bench, _ in
            let key = try await bench.register(pi)
            try await send(bench, "1", "$.mid=a&iothub-ack=negative")
            let session = try await bench.connect(pi, key, listeningTo: [.cloudToDevice])
            for number in 0..<10 {
                let taken = try await next(session)
                #expect(taken.message.deliveryCount == number)
                bench.backend.settled(taken.token, .abandoned, by: session)
            }
            try await waitUntil { try await count(bench) == 0 }
            await bench.registry.feedback.gather()
            let batch = try #require(try await bench.registry.feedback.receive())
            let records = try JSONValue(parsing: batch.body.readableBytesView)
            #expect(records[0]?["statusCode"] == "DeliveryCountExceeded")
        }
    }

    @Test func `Messages are fetched one by one under a lock, and only its holder settles them`() async throws {
        try await withBench { bench, clock in
            let key = try await bench.register(pi)
            let identity = try await bench.signIn(pi, key)
            let mailbox = bench.backend
            #expect(try await mailbox.receive(for: identity, lockTime: nil) == nil)
            try await send(bench, "1")
            try await send(bench, "2")
            let first = try #require(try await mailbox.receive(for: identity, lockTime: .seconds(5)))
            let second = try #require(try await mailbox.receive(for: identity, lockTime: nil))
            #expect(String(buffer: second.event.body) == "2")
            #expect(try await mailbox.receive(for: identity, lockTime: nil) == nil)
            clock.pass(.seconds(6))
            let error = await #expect(throws: HubError.self) {
                try await mailbox.settle(first.lockToken, .completed, for: identity)
            }
            #expect(error?.code == .deviceMessageLockLost)
            let again = try #require(try await mailbox.receive(for: identity, lockTime: nil))
            #expect(String(buffer: again.event.body) == "1" && again.deliveryCount == 0)
            try await mailbox.settle(again.lockToken, .abandoned, for: identity)
            try await mailbox.settle(second.lockToken, .completed, for: identity)
            let last = try #require(try await mailbox.receive(for: identity, lockTime: nil))
            #expect(String(buffer: last.event.body) == "1" && last.deliveryCount == 1)
            try await mailbox.settle(last.lockToken, .rejected, for: identity)
            #expect(try await count(bench) == 0)
        }
    }

    @Test func `Feedback tells each outcome that was asked for, and nothing else`() async throws {
        try await withBench { bench, clock in
            let key = try await bench.register(pi)
            let identity = try await bench.signIn(pi, key)
            for (id, wish) in [("ok", "full"), ("quiet", "negative"), ("no", "full"), ("none", "none")] {
                try await send(bench, "", "$.mid=\(id)&iothub-ack=\(wish)")
            }
            for outcome in [DeliveryOutcome.completed, .completed, .rejected, .rejected] {
                let message = try #require(try await bench.backend.receive(for: identity, lockTime: nil))
                try await bench.backend.settle(message.lockToken, outcome, for: identity)
            }
            try await send(bench, "", "$.mid=late&iothub-ack=full&$.exp=2027-01-15T08%3A01%3A00Z")
            clock.pass(.seconds(61))
            await bench.backend.messages.sweep()
            try await send(bench, "", "$.mid=purged&iothub-ack=full")
            #expect(try await bench.registry.purgeMessages(of: pi) == 1)
            let desk = bench.registry.feedback
            #expect(try await desk.receive() == nil)
            await desk.gather()
            let batch = try #require(try await desk.receive())
            let records = try JSONValue(parsing: batch.body.readableBytesView).array ?? []
            #expect(
                records.map { [$0["originalMessageId"]?.string, $0["statusCode"]?.string] } == [
                    ["ok", "Success"], ["no", "Rejected"], ["late", "Expired"], ["purged", "Purged"],
                ])
            #expect(records.first?["deviceGenerationId"]?.string == identity.generationID)
            #expect(try await desk.receive() == nil)
            try await desk.settle(batch.lockToken, .abandoned)
            let again = try #require(try await desk.receive())
            #expect(again.deliveryCount == 1)
            try await desk.settle(again.lockToken, .completed)
            await #expect(throws: HubError.self) { try await desk.settle(again.lockToken, .completed) }
            #expect(try await desk.receive() == nil)
        }
    }

    @Test func `Sixty-four records make a batch at once, which wakes who waits, and go with their device`() async throws
    {
        try await withBench { bench, _ in
            try await bench.register(pi)
            let desk = bench.registry.feedback
            let waiting = Task { try await desk.next() }
            for round in 0..<2 {
                for number in 0..<32 { try await send(bench, "", "$.mid=\(round).\(number)&iothub-ack=full") }
                _ = try await bench.registry.purgeMessages(of: pi)
            }
            let batch = try await waiting.value
            #expect(try JSONValue(parsing: batch.body.readableBytesView).array?.count == 64)
            try await desk.settle(batch.lockToken, .abandoned)
            try await bench.registry.delete(pi, condition: .any)
            #expect(try await desk.receive() == nil)
        }
    }

    @Test func `Queues and feedback survive a restart, locks do not`() async throws {
        let clock = StandingClock()
        let bench = try await HubBench(now: { clock.now })
        let key = try await bench.register(pi)
        let identity = try await bench.signIn(pi, key)
        try await send(bench, "1")
        try await send(bench, "2", "$.mid=2&iothub-ack=full")
        _ = try #require(try await bench.backend.receive(for: identity, lockTime: nil))
        let second = try #require(try await bench.backend.receive(for: identity, lockTime: nil))
        try await bench.backend.settle(second.lockToken, .completed, for: identity)
        await bench.registry.feedback.gather()
        await bench.close()
        let next = try await HubBench(folder: bench.folder, now: { clock.now })
        let found = try #require(try await next.backend.receive(for: identity, lockTime: nil))
        #expect(String(buffer: found.event.body) == "1")
        #expect(try await next.registry.feedback.receive() != nil)
        await next.remove()
    }

    @Test func `Under many hands each message is delivered until it is settled, and never after`() async throws {
        try await withBench { bench, _ in
            let key = try await bench.register(pi)
            let identity = try await bench.signIn(pi, key)
            let settled = Tally()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for sender in 0..<4 {
                    group.addTask {
                        for number in 0..<10 {
                            try await bench.registry.send(
                                MessageProperties(), ByteBuffer(string: "\(sender).\(number)"),
                                to: IdentityKey(device: "pi"))
                        }
                    }
                }
                for _ in 0..<4 {
                    group.addTask {
                        while settled.all.count < 40 {
                            guard let message = try await bench.backend.receive(for: identity, lockTime: nil) else {
                                await Task.yield()
                                continue
                            }
                            try await bench.backend.settle(message.lockToken, .completed, for: identity)
                            settled.add(String(buffer: message.event.body))
                        }
                    }
                }
                try await group.waitForAll()
            }
            let all = settled.all
            #expect(all.count == 40 && Set(all).count == 40)
            #expect(try await count(bench) == 0)
        }
    }
}
