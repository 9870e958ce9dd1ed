/// Lets one task at a time through, in order of arrival; for use inside one actor.
struct Gate {
    private var isHeld = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// True when the gate was free and is now held; otherwise the caller has to `wait`.
    mutating func enter() -> Bool {
        guard !isHeld else { return false }
        isHeld = true
        return true
    }

    mutating func wait(_ continuation: CheckedContinuation<Void, Never>) { waiting.append(continuation) }

    /// Hands the gate to the next in line.
    mutating func leave() {
        guard !waiting.isEmpty else {
            isHeld = false
            return
        }
        waiting.removeFirst().resume()
    }
}
