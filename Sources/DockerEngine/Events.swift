import JSONDocument
import NIOCore

/// Something that happened in the engine.
package struct EngineEvent: Sendable, Hashable {
    /// `container`, `image`, `network`, …
    package let type: String
    /// `create`, `start`, `die`, `destroy`, `health_status: unhealthy`, …
    package let action: String
    /// The id of the container, image or network.
    package let actor: String
    /// For containers: its labels, `image`, `name`, and `exitCode` with `die`.
    package let attributes: [String: String]
    /// Nanoseconds since 1970 by the engine's clock.
    package let time: Int

    init?(_ raw: JSONValue) {
        guard let type = raw["Type"]?.string, let action = raw["Action"]?.string,
            let actor = raw["Actor"]?["ID"]?.string
        else { return nil }
        self.type = type
        self.action = action
        self.actor = actor
        attributes = textMembers(raw["Actor"]?["Attributes"])
        time = raw["timeNano"]?.int ?? (raw["time"]?.int ?? 0) * 1_000_000_000
    }
}

/// What a follower of the engine's events is told.
package enum EngineSignal: Sendable {
    /// The stream stands: everything from now on will be told. Look at the present state now.
    case connected
    case event(EngineEvent)
    /// The stream broke, or could not be had; it is tried again.
    case disconnected(EngineError)
}

extension DockerEngine {
    /// Follows the engine's events until the task is cancelled, and connects again for as long as that takes.
    ///
    /// - Parameters:
    ///   - types: `container`, `network`, …; empty for all.
    ///   - labels: `name` or `name=value`; all must be there.
    ///   - pause: waits for the given time before the next attempt: 0.1 s doubling to 5 s.
    package func followEvents(
        types: [String] = [], labels: [String] = [],
        pause: @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
        deliver: @Sendable (EngineSignal) async -> Void
    ) async {
        var filters: [(name: String, values: [String])] = []
        if !types.isEmpty { filters.append(("type", types)) }
        if !labels.isEmpty { filters.append(("label", labels)) }
        let request = EngineRequest(path: "/events", query: [("filters", filterText(filters))], timeout: nil)
        var delay = Duration.milliseconds(100)
        while !Task.isCancelled {
            var failure = EngineError(.unreachable, "the container engine at \(endpoint) ended its stream of events")
            do throws(EngineError) {
                let response = try await send(request)
                delay = .milliseconds(100)
                await deliver(.connected)
                var lines = JSONLines()
                try await stream(response) { chunk throws(EngineError) in
                    for line in try lines.read(chunk) {
                        if let event = EngineEvent(line) { await deliver(.event(event)) }
                    }
                }
            } catch {
                failure = error
            }
            if Task.isCancelled { return }
            await deliver(.disconnected(failure))
            do { try await pause(delay) } catch { return }
            delay = min(delay * 2, .seconds(5))
        }
    }
}
