/// Why the log did not take or give messages.
package enum EventLogError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The disk or its quota is full; nothing of the batch was kept, and a later attempt may succeed.
    case full
    /// More waits for the disk than may be held in memory; the sender may try again.
    case busy
    /// The disk refused, in the system's words.
    case disk(String)
    /// A file cannot be what the log wrote.
    case damaged(path: String, reason: String)
    /// The log has been closed.
    case closed

    package var description: String {
        switch self {
        case .full:
            "The disk of the message log is full; make room, or lower the retention by age or bytes."
        case .busy: "The disk does not keep up with the messages; send more slowly."
        case .disk(let reason): "The message log cannot be used: \(reason). Check the disk of the data folder."
        case .damaged(let path, let reason):
            "\(path) of the message log is damaged: \(reason). Restore it from a backup, or move it away: the messages "
                + "in it are lost then."
        case .closed: "The message log is closed."
        }
    }
}
