/// What the tool tells while it works.
package enum SolutionMessage: Sendable {
    /// A step that begins or ended.
    case progress(String)
    /// Something worth knowing that stops nothing.
    case warning(String)
}

package typealias SolutionReport = @Sendable (SolutionMessage) -> Void
