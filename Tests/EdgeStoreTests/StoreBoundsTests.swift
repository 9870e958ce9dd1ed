import EdgeStore
import Foundation
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

/// What the store does when time, room or the disk itself run out.
@Suite(.timeLimit(.minutes(5))) struct StoreBoundsTests {
    let time = VirtualTime()
    private let told = Told()

    /// What the store said.
    private final class Told: Sendable {
        let losses = Mutex<[MessageLoss]>([])
        let damage = Mutex<[String]>([])
    }

    private func open(
        _ folder: String, _ options: MessageStore.Options = .init()
    ) throws -> MessageStore {
        try MessageStore(
            folder: folder, clock: time.clock, options: options,
            onLoss: { [told] loss in told.losses.withLock { $0.append(loss) } },
            onDamage: { [told] text in told.damage.withLock { $0.append(text) } })
    }

    private func message(
        _ text: String, to queues: [QueueName] = [up], priority: Int = 5, timeToLive: Int? = nil, padding: Int = 0
    ) -> NewMessage {
        NewMessage(
            event: DeviceEvent(body: ByteBuffer(string: text + String(repeating: ".", count: padding))), source: probe,
            destinations: queues.map { Destination(queue: $0, priority: priority, timeToLive: timeToLive) })
    }

    private func append(_ store: MessageStore, _ messages: [NewMessage]) async throws {
        _ = try await withCheckedContinuation { done in
            store.append(messages) { done.resume(returning: $0) }
        }.get()
    }

    private func texts(_ store: MessageStore, _ queue: QueueName = up) async throws -> [String] {
        try await withCheckedContinuation { done in
            store.read(queue, after: [:], limit: 1_000_000, byteLimit: 1 << 30) { done.resume(returning: $0) }
        }.get().map { String(buffer: $0.event.body).replacing(".", with: "") }
    }

    private var lost: Int { told.losses.withLock { $0.reduce(0) { $0 + $1.count } } }

    @Test func `Messages of different times to live in one queue leave the disk each in its time`() async throws {
        let folder = TemporaryFolder()
        var store = try open(folder.path)
        try await append(store, [message("for ever"), message("long", timeToLive: 600)])
        try await append(store, [message("short", timeToLive: 60), message("later", timeToLive: 900)])
        #expect(try await store.expire() == 60_000)
        time.pass(seconds: 61)
        #expect(try await store.expire() == 539_000)
        #expect(await store.count(in: up) == 3)
        #expect(try await texts(store) == ["for ever", "long", "later"])
        await store.close()
        // A restart knows nothing of the order in the file.
        store = try open(folder.path)
        time.pass(seconds: 600)
        #expect(try await store.expire() == 239_000)
        #expect(try await texts(store) == ["for ever", "later"])
        #expect(lost == 2)
        #expect(told.losses.withLock { $0 }.allSatisfy { $0.source == probe && $0.reason == .expired })
        await store.close()
    }

    @Test func `Depths tell what waits in each queue and priority, also after a restart`() async throws {
        let folder = TemporaryFolder()
        var store = try open(folder.path)
        try await append(store, (0..<10).map { message("\($0)", to: [up, on], priority: $0 % 2) })
        func depths() async -> Set<String> {
            Set(await store.depths().map { "\($0.queue) \($0.priority) \($0.count)" })
        }
        let expected: Set = [
            "$upstream from pi/probe 0 5", "$upstream from pi/probe 1 5", "pi/lamp/inputs/on 0 5",
            "pi/lamp/inputs/on 1 5",
        ]
        #expect(await depths() == expected)
        await store.close()
        store = try open(folder.path)
        #expect(await depths() == expected)
        await store.close()
    }

    @Test func `A lower quota takes effect with the next message, and the policy with it`() async throws {
        let folder = TemporaryFolder()
        let store = try open(folder.path)
        try await append(store, (0..<200).map { message("\($0)", padding: 8_000) })
        store.setLimits(quota: 512 << 10, overflow: .dropOldest)
        try await append(store, [message("new")])
        #expect(await store.fill().quota == 512 << 10)
        #expect(await store.usedBytes() <= 512 << 10)
        let kept = try await texts(store)
        #expect(kept.last == "new")
        #expect(kept.count + lost == 201)
        store.setLimits(quota: 256 << 10, overflow: .refuse)
        await #expect(throws: EdgeStoreError.full(quota: 256 << 10)) { try await append(store, [message("no")]) }
        #expect(try await texts(store) == kept)
        await store.close()
    }

    @Test func `The standard quota is 1 GB or less, and never nothing`() {
        #expect((16 << 20...1 << 30).contains(MessageStore.standardQuota(at: "/tmp")))
        #expect(MessageStore.standardQuota(at: "/nowhere") == 1 << 30)
    }

    @Test func `A file that is damaged while it serves goes on in a new one, with what can be read of it`() async throws
    {
        let folder = TemporaryFolder()
        let path = folder.path + "/messages.db"
        var store = try open(folder.path)
        try await append(store, (0..<2_000).map { message("\($0)", padding: 1_000) })
        await store.close()
        store = try open(folder.path)
        // A page in the middle of the messages, after the store has looked at its index.
        let size = try #require(FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try file.seek(toOffset: UInt64(size / 2 / 4_096 * 4_096))
        try file.write(contentsOf: Data(repeating: 0xA5, count: 4_096))
        try file.close()
        let found = try await texts(store)
        #expect(told.damage.withLock { $0.count } == 1)
        #expect(found.count > 1_900 && found.count < 2_000)
        #expect(found.compactMap { Int($0) } == found.compactMap { Int($0) }.sorted())
        #expect(found.first == "0" && found.last == "1999")
        try await append(store, [message("goes on")])
        #expect(try await texts(store).last == "goes on")
        await store.close()
        store = try open(folder.path)
        #expect(try await texts(store).last == "goes on")
        #expect(told.damage.withLock { $0.count } == 1)
        await store.close()
    }

    #if os(Linux)
        /// Runs `body` on a small disk of its own; false where none can be made.
        private static let canMount: Bool = {
            let folder = TemporaryFolder()
            guard mount("tmpfs", folder.path, "tmpfs", 0, "size=1m") == 0 else { return false }
            return umount(folder.path) == 0
        }()

        @Test(.enabled(if: canMount))
        func `On a full disk deliveries are recorded, the oldest give way, and room is used again`() async throws {
            let outer = TemporaryFolder()
            try #require(mount("tmpfs", outer.path, "tmpfs", 0, "size=48m") == 0)
            defer { umount2(outer.path, Int32(MNT_DETACH)) }
            let store = try open(outer.path + "/store")
            #expect(FileManager.default.fileExists(atPath: outer.path + "/store/reserve"))
            // Somebody else fills the disk.
            let filler = outer.path + "/filler"
            _ = FileManager.default.createFile(atPath: filler, contents: Data(count: 34 << 20))
            var taken = 0
            var refused = 0
            for number in 0..<12_000 where refused < 3 {
                do {
                    try await append(store, [message("\(number)", padding: 1_000)])
                    taken += 1
                } catch {
                    refused += 1
                }
            }
            #expect(refused == 0)
            #expect(await store.fill().isDiskFull)
            #expect(lost > 0)
            let kept = try await texts(store)
            #expect(kept.count + lost == taken)
            #expect(kept.last == "11999")
            // Deliveries go on being recorded.
            let first = try await withCheckedContinuation { done in
                store.read(up, after: [:], limit: 100, byteLimit: 1 << 20) { done.resume(returning: $0) }
            }.get()
            store.remove(first, from: up)
            await store.flush()
            #expect(await store.count(in: up) == kept.count - 100)
            unlink(filler)
            _ = try await store.expire()
            #expect(await store.fill().isDiskFull == false)
            let before = lost
            for number in 0..<2_000 { try await append(store, [message("again \(number)", padding: 1_000)]) }
            #expect(lost == before)
            await store.close()
        }
    #endif
}
