/// A failure of the edge's own store.
package enum EdgeStoreError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The quota is reached, and nothing of the same or a lower priority is left to give way.
    case full(quota: Int)
    /// The disk itself is full, and nothing in the store is left to give way.
    case diskFull
    /// More waits for the disk than may be held in memory; the sender may try again.
    case busy
    /// The file is damaged.
    case damaged(String)
    /// The disk refused, in the database's words.
    case disk(String)
    /// The store has been closed.
    case closed

    package var description: String {
        switch self {
        case .full(let quota):
            "The message store holds its \(quota) bytes; deliver or expire messages, or raise the quota."
        case .diskFull: "The disk of the state folder is full; make room on it."
        case .busy: "The disk does not keep up with the messages; send more slowly."
        case .damaged(let message): "The edge's store is damaged: \(message). Check the disk of the state folder."
        case .disk(let message): "The edge's store cannot be written: \(message). Check the disk of the state folder."
        case .closed: "The edge's store is closed."
        }
    }
}
