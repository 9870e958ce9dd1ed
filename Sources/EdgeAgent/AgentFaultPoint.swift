/// A place between two steps of a deployment at which the process may be ended without harm: whenever it is, a whole set
/// runs again after the next start.
package enum AgentFaultPoint: String, Sendable, CaseIterable {
    /// The desired properties are on the disk, or the outcome of a deployment is.
    case saved
    case pulling, pulled
    case creating, created
    /// A container that has to go was stopped, and is still there.
    case stopped
    case removed
    case starting, started
    case committing, committed
    case rollingBack, rolledBack
}
