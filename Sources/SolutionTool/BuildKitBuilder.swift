import DockerEngine
import SolutionTemplate

/// BuildKit inside the engine, through the engine's command-line program: `docker buildx` where it is installed, else
/// the one that the program itself brought until version 22.
struct BuildKitBuilder: ImageMaker {
    enum Dialect: Sendable { case buildx, integrated }

    /// The program.
    let docker: String
    let dialect: Dialect
    let environment: SolutionEnvironment
    /// As `DOCKER_HOST` has it.
    let host: String

    var name: String { dialect == .buildx ? "BuildKit (docker buildx)" : "BuildKit (docker build)" }

    /// Looks through the search path: the first program of the name need not be the one that can do it.
    static func find(_ environment: SolutionEnvironment, host: String) async -> BuildKitBuilder? {
        guard environment.variables["DOCKER_BUILDKIT"] != "0" else { return nil }
        for docker in ToolProcess.find("docker", path: environment.variables["PATH"] ?? "") {
            func run(_ arguments: String...) async -> ToolProcess.Outcome? {
                await ToolProcess(
                    program: docker, arguments: arguments,
                    environment: environment.variables.merging(["DOCKER_HOST": host]) { $1 },
                    folder: environment.workingFolder
                ).run()
            }
            func builder(_ dialect: Dialect) -> BuildKitBuilder {
                BuildKitBuilder(docker: docker, dialect: dialect, environment: environment, host: host)
            }
            if let buildx = await run("buildx", "version"), buildx.succeeded { return builder(.buildx) }
            // Docker version 20.10.24+dfsg1, build 297e128
            guard let version = await run("--version"), version.succeeded,
                let number = version.output.firstRange(of: "version ").map({ version.output[$0.upperBound...] }),
                let major = Int(number.prefix(while: \.isNumber)), (19..<23).contains(major)
            else { continue }
            return builder(.integrated)
        }
        return nil
    }

    /// What the program itself looks at: build arguments of these names stand among its arguments, and not in its
    /// environment.
    private static let ownVariables: Set<String> = ["PATH", "HOME", "LANG", "TMPDIR", "SSH_AUTH_SOCK"]

    func build(_ request: BuildRequest, log: BuildLog) async throws {
        let options = request.options
        if dialect == .integrated, !options.cacheTo.isEmpty {
            throw BuildFailure(
                reason: "--cache-to needs docker buildx, which \(docker) does not have; install the buildx plugin",
                line: nil)
        }
        var variables = environment.variables
        variables["DOCKER_HOST"] = host
        variables["DOCKER_BUILDKIT"] = "1"
        variables["BUILDKIT_PROGRESS"] = "plain"
        var arguments = dialect == .buildx ? ["buildx", "build", "--load"] : ["build"]
        arguments += ["--progress", "plain", "--tag", request.tag, "--file", request.context.dockerfileName]
        for argument in options.arguments {
            guard let value = argument.value ?? environment.variables[argument.name] else { continue }
            if argument.name.hasPrefix("DOCKER_") || Self.ownVariables.contains(argument.name) {
                arguments += ["--build-arg", "\(argument.name)=\(value)"]
            } else {
                // Arguments of programs can be seen by everybody on the machine; their environment cannot.
                variables[argument.name] = value
                arguments += ["--build-arg", argument.name]
            }
        }
        for label in options.labels { arguments += ["--label", "\(label.name)=\(label.value ?? "")"] }
        for host in options.extraHosts { arguments += ["--add-host", host] }
        for image in options.cacheFrom { arguments += ["--cache-from", image] }
        for place in options.cacheTo { arguments += ["--cache-to", place] }
        for secret in options.secrets { arguments += ["--secret", secret] }
        for agent in options.ssh { arguments += ["--ssh", agent] }
        if let target = options.target { arguments += ["--target", target] }
        if let platform = options.platform { arguments += ["--platform", platform] }
        if let network = options.network { arguments += ["--network", network] }
        if options.noCache { arguments.append("--no-cache") }
        if options.pull { arguments.append("--pull") }
        arguments.append("-")
        let logins = try LoginFolder(request.credentials, environment)
        defer { logins.remove() }
        if let folder = logins.folder { variables["DOCKER_CONFIG"] = folder }
        let succeeded: Bool
        do {
            succeeded = try await ToolProcess(
                program: docker, arguments: arguments, environment: variables, folder: environment.workingFolder
            ).follow(input: request.context.archive()) { log.add(line: $0) }
        } catch {
            try Task.checkCancellation()
            throw BuildFailure(reason: "cannot run \(docker): \(error)", line: nil)
        }
        try Task.checkCancellation()
        if !succeeded { throw Self.failure(log, request.facts) }
    }

    private static func failure(_ log: BuildLog, _ facts: DockerfileFacts) -> BuildFailure {
        let lines = log.lines
        let reason = (lines.last.map(String.init) ?? "no reason given").replacing("ERROR: ", with: "")
        var line = BuildFailureText.line(in: reason)
        for text in lines.suffix(60) where line == nil {
            // Newer ones say where: "Dockerfile:3".
            if text.hasPrefix("Dockerfile"), let colon = text.lastIndex(of: ":") {
                line = Int(text[text.index(after: colon)...])
            }
            // All of them name the step: " > [2/3] RUN make all:"
            if text.hasPrefix(" > ["), let end = text.firstRange(of: "] ") {
                var step = text[end.upperBound...]
                if step.hasSuffix(":") { step.removeLast() }
                line = line ?? facts.line(ofStep: String(step))
            }
        }
        return BuildFailure(reason: reason, line: line)
    }
}
