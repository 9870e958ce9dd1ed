import ArgumentParser
import SolutionTool

struct BuildCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build", abstract: "Build the images that the template uses, then write the manifest.",
        discussion: """
            A module whose context, Dockerfile, options and base images have not changed is not built again.

            Example: hedgerow build --platform arm32v7
            """)

    @OptionGroup var options: SolutionOptions
    @OptionGroup var work: JobOptions
    @Flag(name: .shortAndLong, help: "Push the images too.") var push = false
    @Flag(name: .shortAndLong, help: "Deploy the manifest to the device in DEVICE_CONNECTION_STRING.")
    var deploy = false
    @OptionGroup(visibility: .hidden) var hub: HubOptions

    func run() async throws {
        let environment = try SolutionEnvironment.current()
        let outcomes = try await options.run(environment, builds: true, pushes: push, jobs: work.jobs)
        if deploy, let outcome = outcomes.last {
            try await DeviceDeployment(environment, hub).apply(outcome.manifest, file: outcome.manifestFile)
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
    @OptionGroup var work: JobOptions
    @Flag(help: "Push what was built before.") var noBuild = false
    @Flag(name: .shortAndLong, help: "Deploy the manifest to the device in DEVICE_CONNECTION_STRING.")
    var deploy = false
    @OptionGroup(visibility: .hidden) var hub: HubOptions

    func run() async throws {
        let environment = try SolutionEnvironment.current()
        let outcomes = try await options.run(environment, builds: !noBuild, pushes: true, jobs: work.jobs)
        if deploy, let outcome = outcomes.last {
            try await DeviceDeployment(environment, hub).apply(outcome.manifest, file: outcome.manifestFile)
        }
    }
}
