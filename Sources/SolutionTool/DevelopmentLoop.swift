import JSONDocument
import NIOHTTP1
package import ServiceClient
package import SolutionTemplate

/// Builds, pushes and deploys whenever a file of a module changes, and waits until the device runs it.
package struct DevelopmentLoop: Sendable {
    /// A step that is done.
    package struct Step: Sendable {
        package let name: String
        package let outcome: String
        package let duration: Duration
    }

    package struct Options: Sendable {
        package var templateFile: String
        package var platform: String
        package var device: String
        package var jobs = 4
        package var builder = BuilderChoice.auto
        /// How long the device may take.
        package var patience = Duration.seconds(120)

        package init(templateFile: String, platform: String, device: String) {
            self.templateFile = templateFile
            self.platform = platform
            self.device = device
        }
    }

    private let environment: SolutionEnvironment
    private let options: Options
    private let client: ServiceClient
    private let report: SolutionReport
    private let finished: @Sendable (Step) -> Void

    /// Above what a person would give by hand.
    private static let priority = 1_000_000

    package init(
        _ environment: SolutionEnvironment, _ options: Options, client: ServiceClient,
        report: @escaping SolutionReport, finished: @escaping @Sendable (Step) -> Void
    ) {
        self.environment = environment
        self.options = options
        self.client = client
        self.report = report
        self.finished = finished
    }

    /// Begins to watch the files.
    package func watch() throws(SolutionError) -> FolderWatch {
        try SolutionWatch(
            try environment.readAgain(), templateFile: options.templateFile, platform: options.platform
        ).begin()
    }

    /// One round: build, push, deploy, and wait for the device.
    ///
    /// - Returns: the images that were built anew, and nothing when the solution is as it was.
    package func round(number: Int) async throws -> [String] {
        let environment = try environment.readAgain()
        let solution = Solution(environment, report: report)
        let built = try await timed("build") {
            let outcome = try await solution.run(
                work(builds: true), templateFile: options.templateFile, platform: options.platform)
            let new = outcome.images.filter { $0.build == "built" }.map(\.tag)
            return (new, new.isEmpty ? "unchanged" : new.joined(separator: ", "))
        }
        let outcome = try await timed("push") {
            var work = work(builds: false)
            work.pushes = true
            work.pins = true
            let outcome = try await solution.run(work, templateFile: options.templateFile, platform: options.platform)
            let pushed = outcome.images.filter { $0.push == "pushed" }.count
            return (outcome, "\(pushed) of \(outcome.images.count)")
        }
        let name = deploymentName(number)
        let before = try await reportedModules()
        try await timed("deploy") {
            let content = try await DeploymentCredentials.filled(
                outcome.manifest["content"] ?? outcome.manifest, environment)
            let modules = content["modulesContent"] ?? content["moduleContent"] ?? .object([:])
            let isRepeated = try await isApplied(modules, number)
            if !isRepeated { try await replaceDeployment(modules, named: name) }
            return ((), isRepeated ? "as before" : name)
        }
        try await timed("running on \(options.device)") {
            ((), try await waitForDevice(outcome.moduleImages, before: before))
        }
        return built
    }

    private func work(builds: Bool) -> Solution.Work {
        var work = Solution.Work(builds: builds, pushes: false, jobs: options.jobs)
        // Passwords stay out of the file; they are filled in on the way to the hub.
        work.credentials = .env
        work.builder = options.builder
        return work
    }

    private func timed<Result>(
        _ name: String, _ body: () async throws -> (Result, String)
    ) async throws -> Result {
        let started = ContinuousClock.now
        let (result, outcome) = try await body()
        finished(Step(name: name, outcome: outcome, duration: ContinuousClock.now - started))
        return result
    }

    // MARK: Deployment

    private var prefix: String { "dev-" + options.device.lowercased() }
    private func deploymentName(_ number: Int) -> String { "\(prefix)-\(number)" }

    private func isApplied(_ modules: JSONValue, _ number: Int) async throws -> Bool {
        let all = try await client.call(.GET, ["configurations"]).body.array ?? []
        return all.contains { deployment in
            deployment["id"]?.string?.hasPrefix(prefix + "-") == true
                && deployment["content"]?["modulesContent"] == modules
        }
    }

    /// What a deployment says never changes, so each round has one of its own: the new one first, so that the device never
    /// falls back in between, and then the old ones go.
    private func replaceDeployment(_ modules: JSONValue, named name: String) async throws {
        let old = (try await client.call(.GET, ["configurations"]).body.array ?? []).compactMap { $0["id"]?.string }
            .filter { $0.hasPrefix(prefix + "-") }
        var name = name
        while old.contains(name) { name += "x" }
        let ranks = old.count
        _ = try await client.call(
            .PUT, ["configurations", name],
            body: [
                "id": .string(name), "schemaVersion": "2.0", "content": ["modulesContent": modules],
                "labels": ["made-by": "hedgerow dev"],
                "targetCondition": .string("deviceId='\(options.device.replacing("'", with: "''"))'"),
                "priority": JSONValue(Self.priority + ranks),
            ])
        for id in old {
            _ = try await client.call(.DELETE, ["configurations", id], headers: ["if-match": "*"])
        }
    }

    // MARK: Device

    private func agentTwin() async throws -> JSONValue {
        try await client.call(.GET, ["twins", options.device, "modules", "$edgeAgent"]).body
    }

    private func reportedModules() async throws -> JSONValue? {
        try await agentTwin()["properties"]?["reported"]?["modules"]
    }

    /// Waits until the device has applied what the hub wants of it and reports each module as running with its image,
    /// started anew where the image is another one than before.
    private func waitForDevice(_ images: [String: String], before: JSONValue?) async throws -> String {
        let deadline = ContinuousClock.now + options.patience
        while true {
            let twin = try await agentTwin()
            let reported = twin["properties"]?["reported"]
            let isApplied =
                reported?["lastDesiredVersion"] == twin["properties"]?["desired"]?["$version"]
                && reported?["lastDesiredStatus"]?["code"]?.int == 200
            let waiting = images.filter { name, image in
                let (old, new) = (before?[name], reported?["modules"]?[name])
                return Self.image(of: new) != image || new?["runtimeStatus"]?.string != "running"
                    || (Self.image(of: old) != image && new?["lastStartTimeUtc"] == old?["lastStartTimeUtc"])
            }
            if isApplied, waiting.isEmpty { return images.keys.sorted().joined(separator: ", ") }
            guard ContinuousClock.now < deadline else {
                var words = reported?["lastDesiredStatus"]?.text() ?? "the device has reported nothing"
                for name in waiting.keys.sorted() {
                    let module = reported?["modules"]?[name]
                    words +=
                        "; \(name): \(module?["runtimeStatus"]?.string ?? "unknown")"
                        + " \(module?["statusDescription"]?.string ?? "")"
                }
                throw SolutionError(.hub, "\(options.device) does not run the new deployment yet: \(words)")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    private static func image(of module: JSONValue?) -> String? { module?["settings"]?["image"]?.string }
}
