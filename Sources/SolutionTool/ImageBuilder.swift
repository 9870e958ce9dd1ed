import Crypto
import DockerEngine
import SolutionTemplate
import Synchronization

/// Builds the images of a solution, each only when something it is made of has changed.
struct ImageBuilder: Sendable {
    enum Outcome: String, Sendable { case built, unchanged }

    let environment: SolutionEnvironment
    let engine: DockerEngine
    /// Where records and logs lie; absolute.
    let stateFolder: String
    let report: SolutionReport

    /// File times are as coarse as the kernel's clock tick: a change within it may not show.
    private static let clockTick = 50_000_000
    /// The context is put together in memory up to this size, and sent as it is read beyond it.
    private static let memoryLimit = 4 << 20

    func build(_ product: ImageCatalog.Product) async throws(SolutionError) -> Outcome {
        let moduleFile = Paths.join(product.folder, "module.json")
        let options = try BuildOptions(product.module.buildOptions, file: moduleFile)
        let moduleFolder = environment.path(product.folder)
        let dockerfile = Paths.join(moduleFolder, product.dockerfile)
        report(.progress("PROCESSING DOCKERFILE: \(Paths.normalized(Paths.join(product.folder, product.dockerfile)))"))
        report(.progress("BUILDING DOCKER IMAGE: \(product.tag)"))
        for option in options.ignored {
            report(.progress("Build option \(option) will be ignored."))
        }
        let seenAt = LocalFiles.now()
        let context = try BuildContext(
            folder: Paths.normalized(Paths.join(moduleFolder, product.module.contextPath)),
            dockerfile: Paths.normalized(dockerfile), module: product.tag, describedIn: moduleFile)
        let facts = DockerfileFacts(
            String(decoding: context.dockerfile, as: UTF8.self),
            arguments: Dictionary(
                options.arguments.compactMap { pair in pair.value.map { (pair.name, $0) } },
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
        try await send(context, options, product, facts)
        let (image, bases) = try await state(of: product.tag, facts.baseImages)
        record.image = image ?? ""
        record.bases = bases
        try record.write(tag: product.tag, in: stateFolder)
        return .built
    }

    private func digest(of options: BuildOptions, _ product: ImageCatalog.Product) -> String {
        SHA256.hash(data: Array("1 \(product.tag) \(options)".utf8)).hexadecimal
    }

    /// The ids of the image and of those base images that the engine has.
    private func state(
        of tag: String, _ baseImages: [String]
    ) async throws(SolutionError) -> (image: String?, bases: [String: String]) {
        let engine = self.engine
        let found: Result<[String: String], EngineError> = await withTaskGroup(
            of: (String, Result<String?, EngineError>).self
        ) { group in
            for name in Set(baseImages + [tag]) {
                group.addTask {
                    do throws(EngineError) {
                        return (name, .success(try await engine.inspectImage(name).id))
                    } catch {
                        // A name that the engine finds no sense in stands for no image either.
                        return (name, [.notFound, .refused].contains(error.code) ? .success(nil) : .failure(error))
                    }
                }
            }
            var ids: [String: String] = [:]
            for await (name, result) in group {
                switch result {
                case .success(let id): ids[name] = id
                case .failure(let error): return .failure(error)
                }
            }
            return .success(ids)
        }
        do {
            var ids = try found.get()
            let image = ids[tag]
            if !baseImages.contains(tag) { ids[tag] = nil }
            return (image, ids)
        } catch {
            throw Solution.unreachable(error)
        }
    }

    private func send(
        _ context: BuildContext, _ options: BuildOptions, _ product: ImageCatalog.Product, _ facts: DockerfileFacts
    ) async throws(SolutionError) {
        var build = ImageBuild(tags: [product.tag], dockerfile: context.dockerfileName)
        build.arguments = options.arguments.map { ($0.name, $0.value) }
        build.labels = options.labels.map { ($0.name, $0.value ?? "") }
        build.target = options.target
        build.platform = options.platform
        build.noCache = options.noCache
        build.pull = options.pull
        build.network = options.network
        build.extraHosts = options.extraHosts
        build.cacheFrom = options.cacheFrom
        build.squash = options.squash
        let limits: [(String, String?)] = [
            ("cpushares", options.cpuShares), ("cpusetcpus", options.cpuSet),
            ("memory", options.memory.map(String.init)), ("memswap", options.memorySwap.map(String.init)),
            ("shmsize", options.sharedMemory.map(String.init)),
        ]
        build.otherParameters = limits.compactMap { name, value in value.map { (name: name, value: $0) } }
        build.credentials = RegistryLogins(environment).all

        let log = BuildLog()
        var failure: EngineError?
        do throws(EngineError) {
            if context.estimatedSize <= Self.memoryLimit {
                var archive = context.archive().makeAsyncIterator()
                let whole: Result<_, SolutionError> = Result { () throws(SolutionError) in try archive.whole() }
                try await engine.buildImage(build, context: try unwrapped(whole)) { log.add($0) }
            } else {
                try await engine.buildImage(build, context: context.archive()) { log.add($0) }
            }
        } catch {
            failure = error
        }
        if let failure, failure.code == .unreachable { throw Solution.unreachable(failure) }
        let file = logFile(product.tag)
        try LocalFiles.makeFolder(Paths.folder(of: file))
        try LocalFiles.write(Array((log.text + (failure.map { "\n\($0.reason)\n" } ?? "")).utf8), to: file)
        guard let failure else { return }
        throw SolutionError(
            .buildFailed,
            "the build of \(product.tag) failed: \(failure.reason)\(log.lastLines)\n  full log: \(file)",
            file: Paths.normalized(Paths.join(product.folder, product.dockerfile)),
            place: log.step.flatMap { step in
                facts.stepLines.indices.contains(step - 1)
                    ? SourcePlace(line: facts.stepLines[step - 1], column: 1) : nil
            })
    }

    private func unwrapped<Value>(_ result: Result<Value, SolutionError>) throws(EngineError) -> Value {
        switch result {
        case .success(let value): return value
        case .failure(let error): throw EngineError(.transferFailed, error.description)
        }
    }

    private func logFile(_ tag: String) -> String {
        let name = tag.map { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) ? $0 : "_" }
        return "\(stateFolder)/logs/\(String(name)).log"
    }
}

/// The output of one build: its beginning dropped when it grows too long.
private final class BuildLog: Sendable {
    private static let limit = 8 << 20
    private let state = Mutex((text: "", step: Int?.none))

    func add(_ progress: ImageProgress) {
        let line: String
        if let output = progress.output {
            line = output
        } else if let status = progress.status, progress.total == nil {
            line = "\(progress.id.map { "\($0): " } ?? "")\(status)\n"
        } else {
            return
        }
        state.withLock { state in
            if line.hasPrefix("Step "), let step = Int(line.dropFirst(5).prefix { $0.isNumber }) { state.step = step }
            state.text += line
            if state.text.utf8.count > Self.limit { state.text = String(state.text.suffix(Self.limit / 2)) }
        }
    }

    var text: String { state.withLock { $0.text } }
    /// The number of the last step that began.
    var step: Int? { state.withLock { $0.step } }

    /// The end of the output, each line indented.
    var lastLines: String {
        text.split(whereSeparator: \.isNewline).suffix(12).map { "\n  | \($0)" }.joined()
    }
}
