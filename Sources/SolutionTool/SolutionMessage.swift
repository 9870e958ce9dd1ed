/// What the tool tells while it works.
package enum SolutionMessage: Sendable {
    /// A step that begins or ended.
    case progress(String)
    /// Something worth knowing that stops nothing.
    case warning(String)
    /// What is being done about a subject right now, for those who watch; nil when it is over.
    case activity(String, String?)
}

package typealias SolutionReport = @Sendable (SolutionMessage) -> Void
