import DockerEngine
import FoundationEssentials

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What runs, or ran, from a state folder; taken down the same way by the `up` that started it and by a later `down`.
package struct Instance: Sendable {
    let state: StateFolder

    package init(_ state: StateFolder) { self.state = state }

    /// The processes in the order in which they are ended: first who uses, then who is used.
    private static let services = [("edge", 20), ("hub", 15), ("registry", 5)]

    private func process(_ name: String) -> ProcessRecord? {
        StateFolder.read(state.record(name + ".pid")).flatMap { ProcessRecord(parsing: $0) }
    }

    /// The names of the services that still run.
    package var running: [String] {
        ["edge", "hub", "registry", "engine"].filter { process($0)?.isAlive == true }
    }

    /// Ends the `up` that shows this instance, if there is one; it then takes the instance down itself.
    package func endForeground() async {
        await process("up")?.end(patience: .seconds(60))
    }

    /// Records this process as the one that shows the instance.
    func recordForeground() throws(UpFailure) {
        try StateFolder.write(ProcessRecord(getpid())?.text ?? "", to: state.record("up.pid"))
    }

    func forgetForeground() { StateFolder.remove(state.record("up.pid")) }

    /// Records where the engine is and whose containers are ours, for a later `down`.
    ///
    /// - Parameter device: hub and device, as in `localhost/pi`.
    func record(_ engine: Engine, device: String) async throws {
        let line = engine.host + (engine.isPrivate ? " private" : "") + "\n"
        try StateFolder.write(line, to: state.record("engine.host"))
        let strangers = try await engine.containers(ofDevice: device)
        guard strangers.isEmpty else {
            let names = strangers.flatMap(\.names).joined(separator: ", ")
            throw UpFailure(
                "this engine already runs containers of a device \(device): \(names). End that instance with "
                    + "`hedgerow down --state DIR`, or give another --device")
        }
        try StateFolder.write(device + "\n", to: state.record("device"))
    }

    /// Ends and removes all that belongs to the instance, and nothing else. Safe to repeat, and after a kill at any step.
    ///
    /// - Parameter progress: called with each thing that is gone.
    package func takeDown(_ progress: (String) -> Void = { _ in }) async {
        let names = InstanceNames(state)
        await end("edge", 20, progress)
        if let words = StateFolder.read(state.record("engine.host"))?.split(separator: " "), let host = words.first {
            // An engine that does not answer any more runs nothing of ours either, or is beyond our reach.
            if let engine = try? await Engine(host: String(host), isPrivate: words.count > 1) {
                if let device = StateFolder.read(state.record("device")) {
                    // What the edge asked for just before its end may come into being while the rest is removed.
                    var count = 0
                    for _ in 0..<5 {
                        guard let containers = try? await engine.containers(ofDevice: device), !containers.isEmpty
                        else { break }
                        await engine.remove(containers: containers.map(\.id))
                        count = max(count, containers.count)
                    }
                    if count > 0 { progress("\(count) containers") }
                }
                await engine.remove(network: names.network)
            }
        }
        for (name, patience) in Self.services.dropFirst() { await end(name, patience, progress) }
        if StateFolder.exists(state.record("engine.json")) {
            await PrivateEngine.stop(state)
            progress("engine")
        }
        StateFolder.remove(state.record("device"))
        StateFolder.remove(state.record("engine.host"))
        Emulation.undo(state)
    }

    private func end(_ name: String, _ patience: Int, _ progress: (String) -> Void) async {
        guard let process = process(name) else { return }
        if process.isAlive {
            await process.end(patience: .seconds(patience))
            progress(name)
        }
        StateFolder.remove(state.record(name + ".pid"))
    }
}
