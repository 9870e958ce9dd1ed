import Subprocess

/// The systemd service that runs the runtime on an installed device.
enum Service {
    /// - Returns: false where systemd does not run the runtime.
    static func restart() async -> Bool {
        guard Files.exists("/run/systemd/system"), Files.exists("/lib/systemd/system/hedgerow-edge.service") else {
            return false
        }
        let result = try? await Subprocess.run(
            .name("systemctl"), arguments: ["restart", "hedgerow-edge.service"], output: .discarded, error: .discarded)
        return result?.terminationStatus.isSuccess ?? false
    }
}
