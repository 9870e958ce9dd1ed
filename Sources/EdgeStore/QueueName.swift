package import Model

/// Where messages wait: for the hub, one queue per sender, or for one input of one module.
///
/// A queue of its own per sender lets each go up on its own identity without waiting for another; a queue per input
/// lets one slow input wait alone.
package enum QueueName: Hashable, Sendable {
    case upstream(from: IdentityKey)
    case input(of: IdentityKey, name: String)
}

extension QueueName: CustomStringConvertible {
    package var description: String {
        switch self {
        case .upstream(let sender): "$upstream from \(sender)"
        case .input(let module, let name): "\(module)/inputs/\(name)"
        }
    }
}

extension QueueName {
    /// The form in the database. Ids hold no blank and no slash, so the parts stay apart.
    var text: String {
        switch self {
        case .upstream(let sender): "u \(sender)"
        case .input(let module, let name): "i \(module) \(name)"
        }
    }

    init?(text: String) {
        let parts = text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, let identity = IdentityKey(parsing: parts[1]) else { return nil }
        switch (parts[0], parts.count) {
        case ("u", 2): self = .upstream(from: identity)
        case ("i", 3): self = .input(of: identity, name: String(parts[2]))
        default: return nil
        }
    }
}
