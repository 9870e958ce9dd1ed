package import JSONDocument

/// The agent's link to the hub: its desired properties, its reported ones, and calls of its methods.
package protocol DesiredSource: Sendable {
    /// Delivers what happens until the task is cancelled; connects again by itself for as long as it takes.
    ///
    /// The next signal is delivered after `deliver` has returned, in the order in which things happened.
    func follow(_ deliver: @escaping @Sendable (DesiredSignal) async -> Void) async

    /// The whole twin as it is now: `desired` with `$version`, and `reported`.
    func twin() async throws -> (desired: JSONValue, reported: JSONValue)

    /// Merges a patch into the reported properties.
    ///
    /// - Throws: when the hub is not reached or refuses; the agent sends the newest state again after `connected`.
    func report(_ patch: JSONValue) async throws
}

package enum DesiredSignal: Sendable {
    /// The link stands, and this is the whole twin: `desired` with `$version`, `reported` as the hub has it.
    case connected(desired: JSONValue, reported: JSONValue)
    /// The desired properties have changed. The agent asks for the whole twin then: a patch cannot tell of a member
    /// that vanished inside another when the properties were replaced.
    case desiredChanged
    case disconnected
}

/// The answer to a direct method of `$edgeAgent`.
package struct AgentMethodAnswer: Sendable, Hashable {
    package var status: Int
    package var payload: JSONValue

    package init(status: Int, payload: JSONValue) {
        self.status = status
        self.payload = payload
    }
}
