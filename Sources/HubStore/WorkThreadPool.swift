import Synchronization

/// Several threads with the same work, which take turns.
package final class WorkThreadPool<Item: Sendable>: Sendable {
    private let threads: [WorkThread<Item>]
    private let next = Atomic<Int>(0)

    package init(
        count: Int, start: @escaping @Sendable () throws -> (_ batch: [Item]) -> Void
    ) throws {
        threads = try (0..<max(count, 1)).map { _ in try WorkThread(start: start) }
    }

    @discardableResult
    package func submit(_ item: Item) -> Bool {
        let turn = next.wrappingAdd(1, ordering: .relaxed).newValue
        return threads[Int(UInt(bitPattern: turn) % UInt(threads.count))].submit(item)
    }

    package func end() { for thread in threads { thread.end() } }
}
