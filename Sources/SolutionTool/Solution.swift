import DockerEngine
package import JSONDocument
package import SolutionTemplate

/// A solution on disk and what can be made of it.
package struct Solution: Sendable {
    /// What became of one image.
    package struct ImageResult: Sendable {
        package let tag: String
        /// `built`, `unchanged`, or nil when building was not asked for.
        package var build: String?
        package var pushed = false
        /// The digest that the registry holds, where the engine tells it.
        package var digest: String?
    }

    /// How much to do.
    package struct Work: Sendable {
        package var builds: Bool
        package var pushes: Bool
        /// How many images are worked on at the same time.
        package var jobs: Int
        package var failsOnValidationError: Bool
        package var failsOnUnresolved: Bool

        package init(
            builds: Bool, pushes: Bool, jobs: Int = 4, failsOnValidationError: Bool = false,
            failsOnUnresolved: Bool = false
        ) {
            self.builds = builds
            self.pushes = pushes
            self.jobs = max(1, jobs)
            self.failsOnValidationError = failsOnValidationError
            self.failsOnUnresolved = failsOnUnresolved
        }
    }

    package struct Outcome: Sendable {
        /// Relative to the working folder.
        package let manifestFile: String
        package let manifest: JSONValue
        package let platform: String
        package let images: [ImageResult]
        package let violations: [ManifestViolation]
    }

    package let environment: SolutionEnvironment
    private let report: SolutionReport

    package init(_ environment: SolutionEnvironment, report: @escaping SolutionReport) {
        self.environment = environment
        self.report = report
    }

    /// Reads, builds, pushes and writes the manifest, in this order; a failure on the way writes nothing.
    ///
    /// - Parameters:
    ///   - templateFile: relative to the working folder; nil for the solution's own.
    ///   - platform: nil for the solution's own.
    package func run(
        _ work: Work, templateFile: String? = nil, platform: String? = nil
    ) async throws(SolutionError) -> Outcome {
        let plan = try SolutionPlan(
            environment, templateFile: templateFile ?? environment.defaultTemplate,
            platform: platform ?? environment.defaultPlatform)
        if work.failsOnUnresolved, let first = plan.unresolved.first {
            let more = plan.unresolved.count > 1 ? " (and \(plan.unresolved.count - 1) more)" : ""
            throw SolutionError(.unresolved, first + more)
        }
        for note in plan.unresolved { report(.warning(note)) }
        var images = plan.products.map { ImageResult(tag: $0.tag) }
        if work.builds || work.pushes, !images.isEmpty {
            let engine = try await self.engine()
            if work.builds {
                let builder = ImageBuilder(
                    environment: environment, engine: engine, stateFolder: plan.stateFolder, report: report)
                let outcomes = try await each(plan.products, jobs: work.jobs) { product throws(SolutionError) in
                    let started = ContinuousClock.now
                    let outcome = try await builder.build(product)
                    report(.progress("\(outcome.rawValue.uppercased()): \(product.tag) (\(elapsed(since: started)))"))
                    return outcome
                }
                for (index, outcome) in outcomes.enumerated() { images[index].build = outcome.rawValue }
            }
            if work.pushes {
                let pusher = ImagePusher(engine: engine, logins: RegistryLogins(environment), report: report)
                let digests = try await each(plan.products, jobs: work.jobs) { product throws(SolutionError) in
                    let started = ContinuousClock.now
                    let digest = try await pusher.push(product.tag)
                    report(.progress("PUSHED: \(product.tag) (\(elapsed(since: started)))"))
                    return digest
                }
                for (index, digest) in digests.enumerated() {
                    images[index].pushed = true
                    images[index].digest = digest
                }
            }
        }
        try plan.writeManifest(environment)
        report(.progress("Expanding '\(Paths.name(of: plan.templateFile))' to '\(plan.manifestFile)'"))
        let violations = plan.template.violations()
        for violation in violations { report(.warning("\(plan.manifestFile): \(violation)")) }
        if work.failsOnValidationError, !violations.isEmpty {
            throw SolutionError(
                .invalidManifest,
                "the manifest was written, but breaks the deployment schema in \(violations.count) "
                    + (violations.count == 1 ? "place" : "places"), file: plan.manifestFile)
        }
        return Outcome(
            manifestFile: plan.manifestFile, manifest: plan.template.manifestJSON, platform: plan.platform,
            images: images, violations: violations)
    }

    /// The engine, once it has answered.
    private func engine() async throws(SolutionError) -> DockerEngine {
        do {
            let engine = DockerEngine(try EngineEndpoint.standard(environment: environment.variables))
            _ = try await engine.version()
            return engine
        } catch {
            throw Self.unreachable(error)
        }
    }

    static func unreachable(_ error: EngineError) -> SolutionError {
        let remedy = error.code == .unreachable ? "; start it, or let DOCKER_HOST say where it listens" : ""
        return SolutionError(.engine, error.reason + remedy)
    }

    /// Does the work for every element, a few at a time. After a failure nothing new begins; what runs is waited for,
    /// and every failure is told.
    private func each<Result: Sendable>(
        _ products: [ImageCatalog.Product], jobs: Int,
        _ body: @escaping @Sendable (ImageCatalog.Product) async throws(SolutionError) -> Result
    ) async throws(SolutionError) -> [Result] {
        typealias Numbered = (Int, Swift.Result<Result, SolutionError>)
        var results = [Result?](repeating: nil, count: products.count)
        var failures: [SolutionError] = []
        await withTaskGroup(of: Numbered.self) { group in
            var next = 0
            func start() {
                guard next < products.count, failures.isEmpty else { return }
                let (index, product) = (next, products[next])
                next += 1
                group.addTask {
                    do throws(SolutionError) {
                        return (index, .success(try await body(product)))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            for _ in 0..<jobs { start() }
            while let (index, result) = await group.next() {
                switch result {
                case .success(let value): results[index] = value
                case .failure(let error): failures.append(error)
                }
                start()
            }
        }
        for failure in failures.dropFirst() where failure != failures[0] { report(.warning("\(failure)")) }
        if let first = failures.first { throw first }
        return results.compactMap(\.self)
    }
}

private func elapsed(since start: ContinuousClock.Instant) -> String {
    let duration = ContinuousClock.now - start
    let milliseconds = duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000
    return milliseconds < 1000 ? "\(milliseconds) ms" : "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
}
