import ArgumentParser
import FoundationEssentials
import SingleMachine
import SolutionTemplate
import SolutionTool
import Terminal

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

struct DevCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dev",
        abstract: "Edit and see it run: rebuild, push and deploy whenever a file of a module changes.",
        discussion: """
            Uses what `hedgerow up` runs from the state folder, and starts it first when nothing runs there (and ends it \
            afterwards). Each change becomes a deployment of its own with images by digest; the steps and their times \
            are shown. With HEDGEROW_CONNECTION_STRING set and nothing running from the state folder, that hub's device \
            is used.

            Example: hedgerow dev examples/sunshine
            """)

    @Argument(help: "The solution's folder; the working folder if not given.") var folder = "."
    @Option(name: [.customShort("P", allowingJoined: true), .long], help: "The platform; this machine's if not given.")
    var platform: String?
    @Option(help: "The id of the edge device.") var device = "pi"
    @Option(help: "auto, buildkit, classic, podman or buildah.") var builder = BuilderChoice.auto
    @Option(help: "End, with exit status 0, after so many changes have come to run on the device.") var rounds: Int?
    @OptionGroup var location: StateOption
    @OptionGroup var hub: HubOptions

    func validate() throws {
        if let rounds, rounds < 1 { throw ValidationError("--rounds is \(rounds); give a number from 1 on") }
    }

    func run() async throws {
        let state = StateFolder(location.state)
        let solution = try SolutionFolder(folder)
        let process = ProcessInfo.processInfo.environment
        let usesOwnHub = process["HEDGEROW_CONNECTION_STRING"] != nil || hub.login != nil
        var mine = false
        if Instance(state).running.isEmpty, !usesOwnHub {
            mine = true
            try await startInstance(state)
        }
        do {
            try await endingOnSignals { try await follow(state, solution, process) }
        } catch {
            if mine { await end(state) }
            throw error
        }
        if mine { await end(state) }
    }

    private func end(_ state: StateFolder) async {
        // A task of its own: the one that was cancelled could start nothing any more.
        await Task.detached { await Instance(state).takeDown { Terminal.note("stopped \($0)") } }.value
    }

    private func startInstance(_ state: StateFolder) async throws {
        let display = StepDisplay()
        let options = Up.Options(
            folder: folder, platform: platform.map { TargetPlatform($0) } ?? .native, device: device, detach: true,
            exitAfterMessages: nil)
        do {
            try await Up(options, state: state, environment: ProcessInfo.processInfo.environment) { display.show($0) }
                .run()
        } catch is UpInterruption {
            throw ExitCode(130)
        }
    }

    /// What `up` wrote down for other commands.
    private func variables(_ state: StateFolder, _ process: [String: String]) -> [String: String] {
        guard !Instance(state).running.isEmpty, let text = FileManager.default.contents(atPath: state.environmentFile)
        else { return process }
        return process.merging(EnvironmentFile.merge(String(decoding: text, as: UTF8.self), into: [:])) { $1 }
    }

    private func follow(_ state: StateFolder, _ solution: SolutionFolder, _ process: [String: String]) async throws {
        var variables = variables(state, process)
        variables["CONFIG_OUTPUT_DIR"] = state.deployment
        let environment = try SolutionEnvironment(process: variables, workingFolder: solution.templateFolder)
        var options = DevelopmentLoop.Options(
            templateFile: environment.defaultTemplate, platform: platform ?? TargetPlatform.native.name, device: device)
        options.builder = builder
        let display = SolutionDisplay()
        try await hub.access(environment: variables).withClient { client in
            let loop = DevelopmentLoop(environment, options, client: client) { message in
                // The steps tell enough; warnings and the work at hand are shown as they come.
                if case .progress = message { return }
                display.show(message)
            } finished: { step in
                display.show(.progress("  \(step.name): \(step.outcome) (\(seconds(step.duration)))"))
            }
            var number = 1
            var start = ContinuousClock.now
            while true {
                // Before the round, so that what changes meanwhile makes the next one.
                let watch = try loop.watch()
                try await round(loop, number, since: start, display)
                if let rounds, number > rounds { return }
                display.show(.progress("Waiting for changes; Ctrl-C ends."))
                guard let changed = await watch.change() else { throw CancellationError() }
                start = changed
                number += 1
            }
        }
    }

    /// A mistake in a file ends the round and not the loop.
    private func round(
        _ loop: DevelopmentLoop, _ number: Int, since start: ContinuousClock.Instant, _ display: SolutionDisplay
    ) async throws {
        do {
            _ = try await loop.round(number: number)
            let total = ContinuousClock.now - start
            display.show(.progress("  runs on \(device), \(seconds(total)) after the change"))
            Terminal.result("running \(milliseconds(total)) ms")
        } catch let error as SolutionError {
            display.show(.progress("hedgerow: \(error)"))
            Terminal.result("failed")
        }
    }

    private func milliseconds(_ duration: Duration) -> Int64 {
        duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000
    }

    private func seconds(_ duration: Duration) -> String {
        let milliseconds = milliseconds(duration)
        return "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
    }
}
