package import NIOCore

/// Received packets that will be acknowledged once they are dealt with, in the order in which they came
/// (MQTT-4.6.0-2), batch by batch.
package struct AcknowledgementQueue: Sendable {
    private struct Batch {
        var ids: [MQTTPacketID]
        var isDone: Bool
    }

    private var batches = CircularBuffer<Batch>()
    private var firstNumber = 0

    package init() {}

    package var isEmpty: Bool { batches.isEmpty }

    /// - Returns: a number for `complete`.
    package mutating func append(_ ids: [MQTTPacketID], isDone: Bool = false) -> Int {
        batches.append(Batch(ids: ids, isDone: isDone))
        return firstNumber + batches.count - 1
    }

    /// The batch is dealt with; a number that is not waiting is ignored.
    package mutating func complete(_ number: Int) {
        let place = number - firstNumber
        guard place >= 0, place < batches.count else { return }
        batches[batches.index(batches.startIndex, offsetBy: place)].isDone = true
    }

    /// Appends the acknowledgements that are due now.
    package mutating func writeDue(to buffer: inout ByteBuffer) {
        while let batch = batches.first, batch.isDone {
            for id in batch.ids { buffer.writeMQTTPublishAnswer(id) }
            batches.removeFirst()
            firstNumber += 1
        }
    }
}
