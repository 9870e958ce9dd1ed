import EdgeStore
import HubProtocol
import Model
import NIOCore
import Synchronization
import Testing

#if canImport(Glibc)
    import Glibc
#endif

private let probe = IdentityKey(device: "pi", module: "probe")
private let lamp = IdentityKey(device: "pi", module: "lamp")
private let up = QueueName.upstream(from: probe)
private let on = QueueName.input(of: lamp, name: "on")

@Suite struct MessageStoreTests {
    let folder = TemporaryFolder()
    let time = VirtualTime()

    private func open(
        _ options: MessageStore.Options = .init(), losses: Losses = Losses()
    ) throws -> MessageStore {
        try MessageStore(
            folder: folder.path, clock: time.clock, options: options,
            onLoss: { loss in losses.all.withLock { $0.append(loss) } })
    }

    private final class Losses: Sendable {
        let all = Mutex<[MessageLoss]>([])
        var count: Int { all.withLock { $0.reduce(0) { $0 + $1.count } } }
    }

    private func message(
        _ text: String, to queues: [QueueName] = [up], priority: Int = 5, timeToLive: Int? = nil, padding: Int = 0
    ) -> NewMessage {
        NewMessage(
            event: DeviceEvent(
                propertyBag: ByteBuffer(string: "n=\(text)"),
                body: ByteBuffer(string: text + String(repeating: ".", count: padding))),
            source: probe,
            destinations: queues.map { Destination(queue: $0, priority: priority, timeToLive: timeToLive) })
    }

    private func append(_ store: MessageStore, _ messages: [NewMessage]) async throws {
        let result = await withCheckedContinuation { done in
            store.append(messages) { done.resume(returning: $0) }
        }
        _ = try result.get()
    }

    private func read(
        _ store: MessageStore, _ queue: QueueName = up, after places: [Int: Int64] = [:], limit: Int = 1_000
    ) async throws -> [StoredMessage] {
        try await withCheckedContinuation { done in
            store.read(queue, after: places, limit: limit, byteLimit: 1 << 24) { done.resume(returning: $0) }
        }.get()
    }

    private func texts(_ messages: [StoredMessage]) -> [String] {
        messages.map { String(buffer: $0.event.body).replacing(".", with: "") }
    }

    @Test func `What was acknowledged is there after the process ended without closing`() async throws {
        do {
            let store = try open()
            try await append(store, [message("a"), message("b", to: [up, on])])
            try await append(store, [message("c")])
        }
        let store = try open()
        let found = try await read(store)
        #expect(texts(found) == ["a", "b", "c"])
        #expect(found.map { String(buffer: $0.event.propertyBag) } == ["n=a", "n=b", "n=c"])
        #expect(found.allSatisfy { $0.source == probe })
        #expect(try await texts(read(store, on)) == ["b"])
        #expect(await store.queues() == [up, on])
        await store.close()
    }

    @Test func `The files can be read by their owner only`() async throws {
        let store = try open()
        try await append(store, [message("a")])
        for file in ["messages.db", "messages.db-wal", "messages.db-shm"] {
            var status = stat()
            #expect(stat("\(folder.path)/\(file)", &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600, "\(file)")
        }
        await store.close()
    }

    @Test func `The most urgent comes first, and each priority in order of arrival`() async throws {
        let store = try open()
        try await append(store, [message("late 1", priority: 9), message("soon 1", priority: 0)])
        try await append(store, [message("late 2", priority: 9), message("soon 2", priority: 0)])
        let found = try await read(store)
        #expect(texts(found) == ["soon 1", "soon 2", "late 1", "late 2"])
        let rest = try await read(store, after: [0: found[0].sequence, 9: found[2].sequence])
        #expect(texts(rest) == ["soon 2", "late 2"])
        #expect(try await texts(read(store, limit: 3)) == ["soon 1", "soon 2", "late 1"])
        await store.close()
    }

    @Test func `A message goes from the disk when its last queue has delivered it`() async throws {
        let store = try open()
        try await append(store, (0..<200).map { message("\($0)", to: [up, on], padding: 4_000) })
        let full = await store.usedBytes()
        store.remove(try await read(store, up), from: up)
        await store.flush()
        #expect(try await read(store, up).isEmpty)
        #expect(try await read(store, on).count == 200)
        #expect(await store.usedBytes() > full / 2)
        let last = try await read(store, on)
        store.remove(last, from: on)
        store.remove(last, from: on)
        await store.flush()
        #expect(await store.count(in: on) == 0)
        #expect(await store.usedBytes() < 100_000)
        await store.close()
    }

    @Test func `Removing a copy twice does not take the other queue's copy`() async throws {
        let store = try open()
        try await append(store, [message("a", to: [up, on])])
        let copies = try await read(store, up)
        store.remove(copies, from: up)
        await store.flush()
        store.remove(copies, from: up)
        await store.flush()
        #expect(try await texts(read(store, on)) == ["a"])
        await store.close()
    }

    @Test func `A message expires after its time to live, whatever the wall clock does`() async throws {
        let losses = Losses()
        let store = try open(losses: losses)
        try await append(store, [message("short", timeToLive: 60), message("for ever", priority: 6)])
        time.jump(seconds: 365 * 86_400)
        #expect(try await store.expire() == 60_000)
        #expect(try await texts(read(store)) == ["short", "for ever"])
        time.jump(seconds: -2 * 365 * 86_400)
        time.pass(seconds: 59)
        #expect(try await store.expire() == 1_000)
        #expect(try await texts(read(store)) == ["short", "for ever"])
        time.pass(seconds: 2)
        #expect(try await texts(read(store)) == ["for ever"])
        #expect(try await store.expire() == nil)
        #expect(losses.all.withLock { $0 } == [MessageLoss(queue: up, source: probe, reason: .expired, count: 1)])
        #expect(await store.count(in: up) == 1)
        await store.close()
    }

    @Test func `The time off counts for the time to live`() async throws {
        var store = try open()
        try await append(store, [message("a", timeToLive: 3_600), message("b", timeToLive: 7_200)])
        await store.close()
        time.jump(seconds: 3_700)
        store = try open()
        #expect(try await texts(read(store)) == ["b"])
        await store.close()
    }

    @Test func `At the quota the oldest of the lowest priority give way`() async throws {
        let losses = Losses()
        var options = MessageStore.Options()
        options.quota = 1 << 20
        let store = try open(options, losses: losses)
        try await append(store, [message("urgent", to: [on], priority: 0)])
        for number in 0..<100 {
            try await append(
                store, (0..<10).map { message("\(number * 10 + $0)", priority: 7, padding: 3_000) })
            #expect(await store.usedBytes() <= options.quota + 64 * 1_024)
        }
        let kept = try await texts(read(store)).compactMap { Int($0) }
        #expect(kept.last == 999)
        #expect(kept == Array((kept.first ?? 0)...999))
        #expect(kept.count + losses.count == 1_000)
        #expect(try await texts(read(store, on)) == ["urgent"])
        await store.close()
    }

    @Test func `A newcomer of lower priority displaces nothing and is refused`() async throws {
        var options = MessageStore.Options()
        options.quota = 512 << 10
        let store = try open(options)
        var stored = 0
        while (try? await append(store, [message("\(stored)", priority: 8, padding: 8_000)])) != nil, stored < 200 {
            stored += 1
        }
        #expect(stored == 200)
        let before = try await read(store).count
        for number in 0..<100 { try? await append(store, [message("\(number)", priority: 9, padding: 8_000)]) }
        let large = (0..<20).map { message("large \($0)", priority: 9, padding: 8_000) }
        await #expect(throws: EdgeStoreError.full(quota: options.quota)) { try await append(store, large) }
        #expect(try await read(store).filter { $0.priority == 8 }.count == before)
        await store.close()
    }

    @Test func `With the policy to refuse nothing that was taken is dropped`() async throws {
        var options = MessageStore.Options()
        options.quota = 512 << 10
        options.overflow = .refuse
        let store = try open(options)
        var stored = 0
        while (try? await append(store, [message("\(stored)", padding: 8_000)])) != nil { stored += 1 }
        #expect((10..<70).contains(stored))
        #expect(try await read(store).count == stored)
        store.remove(try await read(store).prefix(20), from: up)
        await store.flush()
        try await append(store, [message("again", padding: 8_000)])
        await store.close()
    }

    @Test func `Batches of many senders keep their order and each is answered once`() async throws {
        let store = try open()
        await withTaskGroup(of: Void.self) { group in
            for sender in 0..<8 {
                group.addTask {
                    let source = IdentityKey(device: "pi", module: "m\(sender)")
                    for number in 0..<50 {
                        let new = NewMessage(
                            event: DeviceEvent(body: ByteBuffer(string: "\(number)")), source: source,
                            destinations: [
                                Destination(queue: .upstream(from: source), priority: 0, timeToLive: nil)
                            ])
                        try? await append(store, [new])
                    }
                }
            }
        }
        for sender in 0..<8 {
            let queue = QueueName.upstream(from: IdentityKey(device: "pi", module: "m\(sender)"))
            #expect(try await texts(read(store, queue)) == (0..<50).map(String.init))
        }
        await store.close()
    }

    @Test func `A damaged file is set aside and a new one begun`() async throws {
        let path = folder.path + "/messages.db"
        let file = try #require(fopen(path, "w"))
        fputs(String(repeating: "no database ", count: 500), file)
        fclose(file)
        let said = Mutex("")
        let store = try MessageStore(
            folder: folder.path, clock: time.clock, onDamage: { text in said.withLock { $0 = text } })
        try await append(store, [message("a")])
        #expect(said.withLock(\.self).contains("damaged"))
        await store.close()
    }
}
