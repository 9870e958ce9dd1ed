import EdgeStore
import HubProtocol
import NIOCore
import Testing

@testable import EdgeHub

@Suite struct QueueWindowTests {
    private func messages(_ sequences: ClosedRange<Int64>, priority: Int = 1) -> [StoredMessage] {
        sequences.map {
            StoredMessage(
                sequence: $0, priority: priority, source: probe, event: DeviceEvent(body: ByteBuffer(string: "x")),
                copies: 1)
        }
    }

    private func next(_ window: inout QueueWindow) throws -> QueueWindow.Read {
        let read = window.nextRead()
        return try #require(read)
    }

    private func peek(_ window: QueueWindow) -> QueueWindow.Read? {
        var copy = window
        return copy.nextRead()
    }

    @Test func `A receiver that keeps up is never sent to the store`() {
        var window = QueueWindow(limit: 4, byteLimit: 1_000, mayHoldMore: false)
        window.attach()
        for sequence in Int64(1)...100 {
            #expect(window.offer(messages(sequence...sequence)).map(\.sequence) == [sequence])
            #expect(window.settle(sequence)?.sequence == sequence)
            #expect(peek(window) == nil)
        }
        #expect(window.isEmpty)
    }

    @Test func `What does not fit is read back behind the last that was taken`() throws {
        var window = QueueWindow(limit: 4, byteLimit: 1_000, mayHoldMore: false)
        window.attach()
        #expect(window.offer(messages(1...6)).map(\.sequence) == [1, 2, 3, 4])
        #expect(window.offer(messages(7...7)).isEmpty)
        #expect(peek(window) == nil)
        for sequence in Int64(1)...2 { _ = window.settle(sequence) }
        let read = try next(&window)
        #expect(read.places == [1: 4])
        #expect(read.limit == 2)
        #expect(window.finish(read, messages(5...6)).map(\.sequence) == [5, 6])
        for sequence in Int64(3)...6 { _ = window.settle(sequence) }
        let last = try next(&window)
        #expect(window.finish(last, messages(7...7)).map(\.sequence) == [7])
        #expect(window.offer(messages(8...8)).map(\.sequence) == [8])
    }

    @Test func `What is stored during a read is not skipped`() throws {
        var window = QueueWindow(limit: 4, byteLimit: 1_000, mayHoldMore: true)
        window.attach()
        let read = try next(&window)
        #expect(window.offer(messages(2...2)).isEmpty)
        #expect(window.finish(read, messages(1...1)).map(\.sequence) == [1])
        let next = window.nextRead()
        #expect(next?.places == [1: 1])
    }

    @Test func `A new receiver begins with the first that was not settled, in each priority`() throws {
        var window = QueueWindow(limit: 8, byteLimit: 1_000, mayHoldMore: false)
        window.attach()
        _ = window.offer(messages(1...3, priority: 5))
        _ = window.offer(messages(4...5, priority: 0))
        _ = window.settle(1)
        _ = window.settle(4)
        window.detach()
        #expect(window.offer(messages(6...6)).isEmpty)
        window.attach()
        let read = try next(&window)
        #expect(read.places == [5: 1, 0: 4])
        window.detach()
        #expect(window.finish(read, messages(2...2, priority: 5)).isEmpty)
    }

    @Test func `A store that could not be read is asked again`() throws {
        var window = QueueWindow(limit: 8, byteLimit: 1_000, mayHoldMore: true)
        window.attach()
        let read = try next(&window)
        #expect(peek(window) == nil)
        window.fail(read)
        let again = try next(&window)
        #expect(again == read)
    }
}
