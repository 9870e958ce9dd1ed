import Subprocess

/// The systemd service that runs the runtime on an installed device.
enum Service {
    private static let name = "hedgerow-edge.service"

    private static var isInstalled: Bool {
        Files.exists("/run/systemd/system")
            && ["/etc", "/lib", "/usr/lib"].contains { Files.exists("\($0)/systemd/system/\(name)") }
    }

    /// - Returns: false where systemd does not run the runtime.
    static func restart() async -> Bool { await control("restart") }

    static func stop() async -> Bool { await control("stop") }

    /// What systemd says of it; nil where it does not run it.
    static func status() async -> String? {
        await output(of: "systemctl", ["status", "--no-pager", "--lines=0", name])
    }

    /// What it wrote, the newest 16 MB at most; nil where systemd does not run it.
    ///
    /// - Parameter since: Unix seconds, or a time as journalctl takes it.
    static func log(since: String?, until: String?) async -> String? {
        var arguments = ["--unit", name, "--no-pager", "--output", "short-iso", "--lines", "50000"]
        for (option, time) in [("--since", since), ("--until", until)] {
            if let time { arguments += [option, Int(time).map { $0 > 0 ? "@\($0)" : time } ?? time] }
        }
        return await output(of: "journalctl", arguments)
    }

    private static func control(_ verb: String) async -> Bool {
        guard isInstalled else { return false }
        let result = try? await Subprocess.run(
            .name("systemctl"), arguments: [verb, name], output: .discarded, error: .discarded)
        return result?.terminationStatus.isSuccess ?? false
    }

    private static func output(of program: String, _ arguments: [String]) async -> String? {
        guard isInstalled else { return nil }
        let result = try? await Subprocess.run(
            .name(program), arguments: Arguments(arguments), output: .string(limit: 16 << 20), error: .discarded)
        return result?.standardOutput ?? nil
    }
}
