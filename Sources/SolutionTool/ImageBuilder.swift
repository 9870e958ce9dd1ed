import Crypto
import DockerEngine
import SolutionTemplate

/// Builds the images of a solution, each only when something it is made of has changed.
struct ImageBuilder: Sendable {
    enum Outcome: String, Sendable { case built, unchanged }

    let environment: SolutionEnvironment
    let tools: ImageTools
    /// Options of the command line, which win over those of a module.
    let extraOptions: [(name: String, value: String?)]
    let logins: RegistryLogins
    /// Whether a platform's name says which processor the image is for, where no option does.
    let namesProcessor: Bool
    /// Where records and logs lie; absolute.
    let stateFolder: String
    let report: SolutionReport

    /// File times are as coarse as the kernel's clock tick: a change within it may not show.
    private static let clockTick = 50_000_000

    func build(_ product: ImageCatalog.Product) async throws(SolutionError) -> Outcome {
        var options = try product.module.readBuildOptions()
        for option in extraOptions { try options.add(option.name, option.value) }
        let dockerfile = Paths.normalized(Paths.join(environment.path(product.folder), product.dockerfile))
        if namesProcessor, options.platform == nil {
            options.platform = PlatformProcessor.of(product.platform).map {
                $0 == "arm" ? "linux/arm/v7" : "linux/\($0)"
            }
        }
        report(.progress("PROCESSING DOCKERFILE: \(Paths.normalized(Paths.join(product.folder, product.dockerfile)))"))
        report(.progress("BUILDING DOCKER IMAGE: \(product.tag)"))
        for option in options.ignored {
            report(.progress("Build option \(option) will be ignored."))
        }
        let seenAt = LocalFiles.now()
        let context = try BuildContext(
            folder: Paths.normalized(Paths.join(environment.path(product.folder), product.module.contextPath)),
            dockerfile: dockerfile, of: product.module, platform: product.platform, in: product.folder)
        let facts = DockerfileFacts(
            String(decoding: context.dockerfile, as: UTF8.self),
            arguments: Dictionary(
                options.arguments.compactMap { pair in
                    (pair.value ?? environment.variables[pair.name]).map { (pair.name, $0) }
                },
                uniquingKeysWith: { $1 }))
        var record = BuildRecord(
            status: context.statusDigest(), content: "", options: digest(of: options, product), bases: [:], image: "")

        if !options.noCache, !options.pull, let last = BuildRecord.read(tag: product.tag, in: stateFolder),
            last.options == record.options
        {
            if last.status != record.status { record.content = try context.contentDigest() }
            if last.status == record.status || last.content == record.content {
                let (image, bases) = try await state(of: product.tag, facts.baseImages)
                if image == last.image, bases.allSatisfy({ last.bases[$0.key] == $0.value }) {
                    if last.status != record.status, context.newestChange + Self.clockTick < seenAt {
                        var refreshed = last
                        refreshed.status = record.status
                        try refreshed.write(tag: product.tag, in: stateFolder)
                    }
                    return .unchanged
                }
            }
        }
        if record.content.isEmpty { record.content = try context.contentDigest() }
        if context.newestChange + Self.clockTick >= seenAt { record.status = "" }
        try await make(
            BuildRequest(
                tag: product.tag, context: context, dockerfile: dockerfile, options: options, facts: facts,
                credentials: await logins.forBuilds(facts.baseImages)), product)
        let (image, bases) = try await state(of: product.tag, facts.baseImages)
        record.image = image ?? ""
        record.bases = bases
        try record.write(tag: product.tag, in: stateFolder)
        return .built
    }

    /// A digest of all that goes into an image beside its files and bases. Values of arguments that come from the
    /// environment, and the content of secrets, do not show in it otherwise.
    private func digest(of options: BuildOptions, _ product: ImageCatalog.Product) -> String {
        var text = "2 \(product.tag) \(options)"
        for argument in options.arguments where argument.value == nil {
            text += " \(argument.name)=\(environment.variables[argument.name] ?? "")"
        }
        return SHA256.hash(data: Array(text.utf8)).hexadecimal
    }

    /// The ids of the image and of those base images that are there.
    private func state(
        of tag: String, _ baseImages: [String]
    ) async throws(SolutionError) -> (image: String?, bases: [String: String]) {
        var ids = try await tools.store.ids(of: Set(baseImages + [tag]))
        let image = ids[tag]
        if !baseImages.contains(tag) { ids[tag] = nil }
        return (image, ids)
    }

    private func make(_ request: BuildRequest, _ product: ImageCatalog.Product) async throws(SolutionError) {
        let maker = try await tools.maker(request.options, request.facts)
        let report = self.report
        let log = BuildLog { report(.activity(product.tag, $0.trimmed)) }
        log.add(line: "Built by \(maker.name)")
        let file = logFile(product.tag)
        var failure: BuildFailure?
        do {
            try await maker.build(request, log: log)
        } catch let error as SolutionError {
            report(.activity(product.tag, nil))
            throw error
        } catch let error as BuildFailure {
            failure = error
        } catch {
            failure = BuildFailure(reason: error is CancellationError ? "interrupted" : "\(error)", line: nil)
        }
        report(.activity(product.tag, nil))
        try LocalFiles.makeFolder(Paths.folder(of: file))
        try LocalFiles.write(Array((log.text + (failure.map { "\n\($0.reason)\n" } ?? "")).utf8), to: file)
        guard let failure else { return }
        throw SolutionError(
            .buildFailed,
            "the build of \(product.tag) failed: \(failure.reason)\(emulationHint(failure, log, request))\(log.lastLines)\n  full log: \(file)",
            file: Paths.normalized(Paths.join(product.folder, product.dockerfile)),
            place: failure.line.map { SourcePlace(line: $0, column: 1) })
    }

    /// What to do when the kernel refuses another processor's programs.
    private func emulationHint(_ failure: BuildFailure, _ log: BuildLog, _ request: BuildRequest) -> String {
        guard
            failure.reason.contains("exec format error")
                || log.lines.suffix(20).contains(where: {
                    $0.lowercased().contains("exec format error")
                })
        else { return "" }
        let platform = request.options.platform ?? request.facts.platforms.last?.name ?? "the image's processor"
        return
            "; this machine does not run programs for \(platform): as root, apt-get install qemu-user-static binfmt-support"
            + " (the engine's machine needs it)"
    }

    private func logFile(_ tag: String) -> String {
        let name = tag.map { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) ? $0 : "_" }
        return "\(stateFolder)/logs/\(String(name)).log"
    }
}
