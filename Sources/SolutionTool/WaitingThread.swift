import Dispatch

/// Where calls wait that have no other way than to block.
enum WaitingThread {
    private static let queue = DispatchQueue(label: "hedgerow.waiting", attributes: .concurrent)

    static func run(_ body: @escaping @Sendable () -> Void) { queue.async(execute: body) }
}
