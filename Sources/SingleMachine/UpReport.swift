/// What happens during `up` and `down`, for whoever shows it.
package enum UpEvent: Sendable {
    /// A step has begun; one step at a time.
    case began(String)
    /// A line of what the step does; shown on a terminal only.
    case progress(String)
    /// The step is done: its outcome in a few words.
    case finished(String, after: Duration)
    /// The step did not succeed; the error follows by another way.
    case failed(after: Duration)
    /// Something worth knowing.
    case note(String)
    /// A message that reached the hub: one object of `hedgerow monitor --output json`.
    case message(String)
    /// The commands to try next, a line each.
    case nextSteps([String])
}

/// Shows events; called in order.
package typealias UpReport = @Sendable (UpEvent) -> Void

/// Runs one step and reports its beginning and end.
func step<Result>(
    _ title: String, _ report: UpReport, _ work: () async throws -> (Result, String)
) async throws -> Result {
    let clock = ContinuousClock()
    let start = clock.now
    report(.began(title))
    do {
        let (result, outcome) = try await work()
        report(.finished(outcome, after: clock.now - start))
        return result
    } catch {
        report(.failed(after: clock.now - start))
        throw error
    }
}
