/// What is known of one container of ours.
package struct ContainerFacts: Sendable, Hashable {
    package enum State: String, Sendable {
        case created, running, paused, restarting, removing, exited, dead, unknown
    }

    package enum Health: String, Sendable { case starting, healthy, unhealthy }

    package var id: String
    package var name: String
    /// The digest of the image's configuration; empty while unknown.
    package var imageID: String
    /// Nil for a container whose label cannot be read: it is made anew.
    package var fingerprint: ContainerFingerprint?
    package var state: State
    package var exitCode: Int
    package var startedAt: WallTime?
    package var finishedAt: WallTime?
    /// Nil without a health check.
    package var health: Health?
    /// Since when the health check says so.
    package var unhealthySince: WallTime?
    /// It ended while nobody was there to see it, as when the machine or the engine was stopped: it is no crash, and its
    /// start needs no pause.
    package var endedUnseen = false

    package init(
        id: String, name: String, imageID: String = "", fingerprint: ContainerFingerprint?, state: State,
        exitCode: Int = 0, startedAt: WallTime? = nil, finishedAt: WallTime? = nil, health: Health? = nil,
        unhealthySince: WallTime? = nil
    ) {
        self.id = id
        self.name = name
        self.imageID = imageID
        self.fingerprint = fingerprint
        self.state = state
        self.exitCode = exitCode
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.health = health
        self.unhealthySince = unhealthySince
    }
}
