import DockerEngine
import JSONDocument
import NIOCore
import SolutionTemplate

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Podman or Buildah, which need no engine that runs: builds and pushes through their own programs.
struct ContainersCommand: ImageMaker, ImageStore {
    enum Kind: String, Sendable { case podman, buildah }

    let kind: Kind
    let program: String
    let environment: SolutionEnvironment

    var name: String { kind == .podman ? "Podman" : "Buildah" }

    static func find(_ kinds: [Kind], _ environment: SolutionEnvironment) -> ContainersCommand? {
        for kind in kinds {
            if let program = ToolProcess.find(kind.rawValue, path: environment.variables["PATH"] ?? "").first {
                return ContainersCommand(kind: kind, program: program, environment: environment)
            }
        }
        return nil
    }

    private func process(_ arguments: [String], _ added: [String: String] = [:]) -> ToolProcess {
        ToolProcess(
            program: program, arguments: arguments, environment: environment.variables.merging(added) { $1 },
            folder: environment.workingFolder)
    }

    func build(_ request: BuildRequest, log: BuildLog) async throws {
        let options = request.options
        var added: [String: String] = [:]
        var arguments = ["build", "--format", "docker", "--tag", request.tag, "--file", request.dockerfile]
        if kind == .buildah { arguments += ["--layers"] }
        for argument in options.arguments {
            guard let value = argument.value ?? environment.variables[argument.name] else { continue }
            // Arguments of programs can be seen by everybody on the machine; their environment cannot.
            if environment.variables[argument.name] == nil {
                added[argument.name] = value
                arguments += ["--build-arg", argument.name]
            } else {
                arguments += ["--build-arg", "\(argument.name)=\(value)"]
            }
        }
        for label in options.labels { arguments += ["--label", "\(label.name)=\(label.value ?? "")"] }
        for host in options.extraHosts { arguments += ["--add-host", host] }
        for place in options.cacheFrom { arguments += ["--cache-from", try cache(place)] }
        for place in options.cacheTo { arguments += ["--cache-to", try cache(place)] }
        let registries = request.facts.baseImages + options.cacheFrom + options.cacheTo
        if !registries.isEmpty, try registries.allSatisfy({ RegistryHosts.isLoopback(try cache($0)) }) {
            arguments.append("--tls-verify=false")
        }
        for secret in options.secrets { arguments += ["--secret", secret] }
        for agent in options.ssh { arguments += ["--ssh", agent] }
        if let target = options.target { arguments += ["--target", target] }
        if let platform = options.platform { arguments += ["--platform", platform] }
        if let network = options.network { arguments += ["--network", network] }
        if let memory = options.memory { arguments += ["--memory", "\(memory)b"] }
        if let swap = options.memorySwap { arguments += ["--memory-swap", swap < 0 ? "-1" : "\(swap)b"] }
        if let shares = options.cpuShares { arguments += ["--cpu-shares", shares] }
        if let processors = options.cpuSet { arguments += ["--cpuset-cpus", processors] }
        if let size = options.sharedMemory { arguments += ["--shm-size", "\(size)b"] }
        if options.squash { arguments.append("--squash") }
        if options.noCache { arguments.append("--no-cache") }
        if options.pull { arguments.append("--pull") }
        let logins = try LoginFolder(request.credentials, environment)
        defer { logins.remove() }
        if let file = logins.file { arguments += ["--authfile", file] }
        let ignore = try IgnoreFile(request.context)
        defer { ignore.remove() }
        arguments += ["--ignorefile", ignore.path, request.context.folder]
        let succeeded: Bool
        do {
            succeeded = try await process(arguments, added).follow(input: BuildArchive?.none) { log.add(line: $0) }
        } catch {
            try Task.checkCancellation()
            throw BuildFailure(reason: "cannot run \(program): \(error)", line: nil)
        }
        try Task.checkCancellation()
        if !succeeded { throw Self.failure(log, request.facts) }
    }

    /// A repository, also where it is written as BuildKit wants it: `type=registry,ref=…`.
    private func cache(_ place: String) throws(BuildFailure) -> String {
        guard place.contains("=") else { return place }
        let fields = place.split(separator: ",")
        guard fields.contains("type=registry"), let repository = fields.first(where: { $0.hasPrefix("ref=") }) else {
            throw BuildFailure(
                reason: "\(name) keeps caches in registries only, and cannot do \"\(place)\";"
                    + " name a repository, as in --cache-to registry.example/cache", line: nil)
        }
        return String(repository.dropFirst("ref=".count))
    }

    private static func failure(_ log: BuildLog, _ facts: DockerfileFacts) -> BuildFailure {
        var reason = log.lines.last(where: { $0.hasPrefix("Error") || $0.hasPrefix("error") }) ?? log.lines.last ?? ""
        if let colon = reason.firstRange(of: ": "), reason.lowercased().hasPrefix("error") {
            reason = reason[colon.upperBound...]
        }
        // STEP 2/3: RUN make all
        let step = log.lines.last { $0.hasPrefix("STEP ") }
        let words = step.flatMap { step in step.firstRange(of: ": ").map { String(step[$0.upperBound...]) } }
        return BuildFailure(
            reason: reason.isEmpty ? "no reason given" : String(reason), line: words.flatMap { facts.line(ofStep: $0) })
    }

    func ids(of names: Set<String>) async throws(SolutionError) -> [String: String] {
        var ids: [String: String] = [:]
        for name in names { ids[name] = try await facts(of: name)?.id }
        return ids
    }

    func facts(of name: String) async throws(SolutionError) -> ImageFacts? {
        let arguments = kind == .podman ? ["image", "inspect", name] : ["inspect", "--type", "image", name]
        guard let outcome = await process(arguments).run() else {
            throw SolutionError(.engine, "\(program) cannot be started")
        }
        guard outcome.succeeded, let json = try? JSONValue(parsing: outcome.output) else { return nil }
        if kind == .podman {
            guard let image = json[0], let id = image["Id"]?.string else { return nil }
            return ImageFacts(
                id: id, digests: (image["RepoDigests"]?.array ?? []).compactMap(\.string),
                architecture: image["Architecture"]?.string ?? "", variant: image["Variant"]?.string ?? "",
                operatingSystem: image["Os"]?.string ?? "")
        }
        guard let id = json["FromImageID"]?.string else { return nil }
        let platform = json["OCIv1"]
        return ImageFacts(
            id: id, digests: [], architecture: platform?["architecture"]?.string ?? "",
            variant: platform?["variant"]?.string ?? "", operatingSystem: platform?["os"]?.string ?? "")
    }

    func push(
        _ tag: String, credential: RegistryCredential?, progress: @escaping @Sendable (String) -> Void
    ) async throws(PushFailure) -> String? {
        do {
            let logins = try LoginFolder(credential.map { [$0] } ?? [], environment)
            defer { logins.remove() }
            let digestFile = try IgnoreFile(text: "")
            defer { digestFile.remove() }
            var arguments = ["push", "--digestfile", digestFile.path]
            if let file = logins.file { arguments += ["--authfile", file] }
            if RegistryHosts.isLoopback(tag) { arguments.append("--tls-verify=false") }
            let log = BuildLog(activity: progress)
            let succeeded = try await process(arguments + [tag]).follow(input: BuildArchive?.none) { log.add(line: $0) }
            guard succeeded else {
                let reason = log.lines.last.map(String.init) ?? "no reason given"
                throw PushFailure(
                    reason, isMissing: reason.contains("not known") || reason.contains("does not resolve"))
            }
            let digest = (try? LocalFiles.read(digestFile.path)).map { String(decoding: $0, as: UTF8.self).trimmed }
            return digest.flatMap { $0.isEmpty ? nil : $0 }
        } catch let failure as PushFailure {
            throw failure
        } catch {
            throw PushFailure("cannot run \(program): \(error)")
        }
    }
}

/// A small file for one run of a program.
private struct IgnoreFile: Sendable {
    let path: String

    /// The rules by which a context is read, ours included.
    init(_ context: BuildContext) throws(SolutionError) {
        let own = (try? LocalFiles.read(context.folder + "/.dockerignore")).map { String(decoding: $0, as: UTF8.self) }
        try self.init(text: (own ?? "") + "\n**/\(BuildContext.stateFolderName)\n")
    }

    init(text: String) throws(SolutionError) {
        var template = Array("/tmp/hedgerow-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw SolutionError(.unwritable, "no file can be made", file: "/tmp") }
        close(descriptor)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try LocalFiles.write(Array(text.utf8), to: path)
    }

    func remove() { unlink(path) }
}
