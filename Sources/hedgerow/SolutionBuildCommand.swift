import ArgumentParser
import SolutionTemplate
import SolutionTool
import Terminal

struct BuildCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build", abstract: "Build the images that the template uses, then write the manifest.",
        discussion: """
            A module whose context, Dockerfile, options and base images have not changed is not built again. BuildKit \
            builds where it is installed, else the engine's classic builder, else Podman or Buildah.

            Example: hedgerow build -P amd64 -P arm32v7
            """)

    @OptionGroup var options: SolutionOptions
    @OptionGroup var building: BuildingOptions
    @Flag(name: .shortAndLong, help: "Push the images too.") var push = false
    @Flag(name: .shortAndLong, help: "Deploy the manifest to the device in DEVICE_CONNECTION_STRING.")
    var deploy = false
    @Flag(help: "Do it again whenever a file of a module changes, until Ctrl-C.") var watch = false
    @OptionGroup(visibility: .hidden) var hub: HubOptions

    func run() async throws {
        if watch { return try await watchAndBuild() }
        try await once()
    }

    private func once() async throws {
        let environment = try options.environment()
        let outcomes = try await options.run(environment, options.work(builds: true, pushes: push, building))
        if deploy, let outcome = outcomes.last {
            try await DeviceDeployment(environment, hub).apply(outcome.manifest, file: outcome.manifestFile)
        }
    }

    private func watchAndBuild() async throws {
        let platform = try options.platforms(options.environment()).first ?? ""
        while true {
            let environment = try options.environment()
            // Before the build, so that what changes meanwhile makes the next one.
            let watch = try SolutionWatch(
                environment, templateFile: options.file ?? environment.defaultTemplate, platform: platform
            ).begin()
            do {
                try await once()
            } catch let error as SolutionError {
                Terminal.note("hedgerow: \(error)")
            }
            Terminal.note("Waiting for changes; Ctrl-C ends.")
            let changed = try await endingOnSignals { await watch.change() != nil }
            if !changed { throw CancellationError() }
        }
    }
}

struct PushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push", abstract: "Build and push the images that the template uses, then write the manifest.",
        discussion: """
            Credentials come from CONTAINER_REGISTRY_SERVER, CONTAINER_REGISTRY_USERNAME and CONTAINER_REGISTRY_PASSWORD \
            (further sets with one suffix on all three), then from `docker login`.

            Example: hedgerow push --no-build
            """)

    @OptionGroup var options: SolutionOptions
    @OptionGroup var building: BuildingOptions
    @Flag(help: "Push what was built before.") var noBuild = false
    @Flag(name: .shortAndLong, help: "Deploy the manifest to the device in DEVICE_CONNECTION_STRING.")
    var deploy = false
    @OptionGroup(visibility: .hidden) var hub: HubOptions

    func run() async throws {
        let environment = try options.environment()
        let outcomes = try await options.run(environment, options.work(builds: !noBuild, pushes: true, building))
        if deploy, let outcome = outcomes.last {
            try await DeviceDeployment(environment, hub).apply(outcome.manifest, file: outcome.manifestFile)
        }
    }
}
