import DockerEngine
import ImageRegistry
package import JSONDocument
package import SolutionTemplate

/// A solution on disk and what can be made of it.
package struct Solution: Sendable {
    /// What became of one image.
    package struct ImageResult: Sendable {
        package let tag: String
        package let platform: String
        /// `built`, `unchanged`, or nil when building was not asked for.
        package var build: String?
        /// `pushed`, `present` when the registry had it, or nil when pushing was not asked for.
        package var push: String?
        package var pushed: Bool { push != nil }
        /// The digest that the registry holds, where the engine tells it.
        package var digest: String?
    }

    /// How much to do, and how.
    package struct Work: Sendable {
        package var builds: Bool
        package var pushes: Bool
        /// How many images are worked on at the same time.
        package var jobs: Int
        package var failsOnValidationError: Bool
        package var failsOnUnresolved: Bool
        package var builder = BuilderChoice.auto
        /// Build options of the command line, which win over those of the modules.
        package var buildOptions: [(name: String, value: String?)] = []
        /// Names images in the manifest by the digests of what the registry holds.
        package var pins = false
        /// Puts a list of all platforms under one tag, which the manifests name.
        package var listsPlatforms = false
        package var credentials: CredentialSource?

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
        /// The image of each user module, as the manifest has it.
        package let moduleImages: [String: String]
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
        let outcomes = try await run(work, templateFile: templateFile, platforms: platform.map { [$0] } ?? [])
        return outcomes[0]
    }

    /// The same for several platforms: all are planned before the first image is built, all built before the first is
    /// pushed, and all pushed before the first manifest is written.
    ///
    /// - Returns: an outcome for each platform; at least one.
    package func run(
        _ work: Work, templateFile: String? = nil, platforms: [String]
    ) async throws(SolutionError) -> [Outcome] {
        let template = templateFile ?? environment.defaultTemplate
        var plans: [SolutionPlan] = []
        for platform in platforms.isEmpty ? [environment.defaultPlatform] : platforms {
            plans.append(
                try SolutionPlan(
                    environment, templateFile: template, platform: platform, credentials: work.credentials))
        }
        let unresolved = plans.flatMap(\.unresolved).uniqued()
        if work.failsOnUnresolved, let first = unresolved.first {
            let more = unresolved.count > 1 ? " (and \(unresolved.count - 1) more)" : ""
            throw SolutionError(.unresolved, first + more)
        }
        for note in environment.notes + plans.flatMap(\.unresolvedFindings).uniqued() {
            report(.warning(note.sentence))
        }
        var products: [ImageCatalog.Product] = []
        for product in plans.flatMap(\.products) where !products.contains(where: { $0.tag == product.tag }) {
            products.append(product)
        }
        var images = products.map { ImageResult(tag: $0.tag, platform: $0.platform) }
        let logins = RegistryLogins(environment, source: work.credentials)
        var names: [String: String] = [:]
        if work.builds || work.pushes || work.listsPlatforms, !images.isEmpty {
            let tools = try await ImageTools.find(environment, work.builder)
            if work.builds { try await build(products, work, tools, logins, plans[0].stateFolder, into: &images) }
            if work.pushes { try await push(products, work, tools, logins, into: &images) }
            if work.listsPlatforms { names = try await list(products, work, tools, logins) }
        }
        if work.pins, names.isEmpty { names = try await pin(plans, images, logins) }
        for index in plans.indices { plans[index].replaceImages(names) }
        return try write(plans, images, work)
    }

    private func build(
        _ products: [ImageCatalog.Product], _ work: Work, _ tools: ImageTools, _ logins: RegistryLogins,
        _ stateFolder: String, into images: inout [ImageResult]
    ) async throws(SolutionError) {
        let builder = ImageBuilder(
            environment: environment, tools: tools, extraOptions: work.buildOptions, logins: logins,
            namesProcessor: work.listsPlatforms, stateFolder: stateFolder, report: report)
        let outcomes = try await each(products, jobs: work.jobs) { product throws(SolutionError) in
            let started = ContinuousClock.now
            let outcome = try await builder.build(product)
            report(.progress("\(outcome.rawValue.uppercased()): \(product.tag) (\(elapsed(since: started)))"))
            return outcome
        }
        for (index, outcome) in outcomes.enumerated() { images[index].build = outcome.rawValue }
    }

    private func push(
        _ products: [ImageCatalog.Product], _ work: Work, _ tools: ImageTools, _ logins: RegistryLogins,
        into images: inout [ImageResult]
    ) async throws(SolutionError) {
        let pusher = ImagePusher(store: tools.store, logins: logins, report: report)
        let outcomes = try await each(products, jobs: work.jobs) { product throws(SolutionError) in
            let started = ContinuousClock.now
            let outcome = try await pusher.push(product.tag)
            let word = outcome.wasThere ? "ALREADY IN THE REGISTRY" : "PUSHED"
            report(.progress("\(word): \(product.tag) (\(elapsed(since: started)))"))
            return outcome
        }
        for (index, outcome) in outcomes.enumerated() {
            images[index].push = outcome.wasThere ? "present" : "pushed"
            images[index].digest = outcome.digest
        }
    }

    /// Puts a list for each module that has images of several platforms.
    ///
    /// - Returns: what the manifests are to name, by the tag of each image.
    private func list(
        _ products: [ImageCatalog.Product], _ work: Work, _ tools: ImageTools, _ logins: RegistryLogins
    ) async throws(SolutionError) -> [String: String] {
        let lists = ManifestLists(store: tools.store, logins: logins)
        var groups: [(tag: String, images: [String])] = []
        for product in products {
            let tag = String(product.tag.dropLast(product.platform.count + 1))
            if let place = groups.firstIndex(where: { $0.tag == tag }) {
                groups[place].images.append(product.tag)
            } else {
                groups.append((tag, [product.tag]))
            }
        }
        var names: [String: String] = [:]
        for group in groups {
            let digest = try await lists.put(group.tag, of: group.images)
            report(.progress("LISTED: \(group.tag) for \(group.images.count) platforms"))
            let name = work.pins ? RegistryName(group.tag).pinned(to: digest) : group.tag
            for image in group.images { names[image] = name }
        }
        return names
    }

    /// Asks the registries for the digests of the solution's own images, as far as a push has not told them.
    private func pin(
        _ plans: [SolutionPlan], _ images: [ImageResult], _ logins: RegistryLogins
    ) async throws(SolutionError) -> [String: String] {
        var names: [String: String] = [:]
        for tag in plans.flatMap({ $0.productsByModule.values.map(\.tag) }).uniqued() {
            var digest = images.first { $0.tag == tag }?.digest
            if digest == nil {
                let (registry, name) = await logins.registry(of: tag)
                do {
                    digest = try await registry.digest(of: name)
                } catch {
                    throw SolutionError(.pushFailed, "\(tag) cannot be pinned: \(error)")
                }
            }
            guard let digest else {
                throw SolutionError(
                    .pushFailed, "\(tag) cannot be pinned: the registry does not have it; push it first")
            }
            names[tag] = RegistryName(tag).pinned(to: digest)
        }
        return names
    }

    private func write(
        _ plans: [SolutionPlan], _ images: [ImageResult], _ work: Work
    ) throws(SolutionError) -> [Outcome] {
        var outcomes: [Outcome] = []
        var broken: (count: Int, file: String, place: SourcePlace)?
        for plan in plans {
            try plan.writeManifest(environment)
            report(.progress("Expanding '\(Paths.name(of: plan.templateFile))' to '\(plan.manifestFile)'"))
            for name in plan.passwordsInManifest {
                report(
                    .warning(
                        "\(plan.manifestFile) holds the password of the registry \(name) in plain text; "
                            + "--credentials env keeps it out"))
            }
            let violations = plan.template.violations()
            for violation in violations {
                let place = plan.template.place(of: violation)
                report(.warning("\(plan.templateFile):\(place.line):\(place.column): \(violation)"))
            }
            if let first = violations.first, broken == nil {
                broken = (violations.count, plan.templateFile, plan.template.place(of: first))
            }
            let tags = plan.products.map(\.tag)
            outcomes.append(
                Outcome(
                    manifestFile: plan.manifestFile, manifest: plan.template.manifestJSON, platform: plan.platform,
                    images: images.filter { tags.contains($0.tag) }, violations: violations,
                    moduleImages: Dictionary(
                        plan.template.userModules.map { ($0.name, plan.template.image(of: $0.name)) },
                        uniquingKeysWith: { $1 })))
        }
        if work.failsOnValidationError, let broken {
            throw SolutionError(
                .invalidManifest,
                "the manifest was written, but breaks the deployment schema in \(broken.count) "
                    + (broken.count == 1 ? "place" : "places"), file: broken.file, place: broken.place)
        }
        return outcomes
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
        var results = [Result?](repeating: nil, count: products.count)
        var failures: [SolutionError] = []
        await withTaskGroup(of: Finished<Result>.self) { group in
            var next = 0
            func start() {
                guard next < products.count, failures.isEmpty else { return }
                let (index, product) = (next, products[next])
                next += 1
                group.addTask { await Finished(index, product, body) }
            }
            for _ in 0..<jobs { start() }
            while let finished = await group.next() {
                results[finished.index] = finished.result
                if let failure = finished.failure { failures.append(failure) }
                start()
            }
        }
        for failure in failures.dropFirst() where failure != failures[0] { report(.warning("\(failure)")) }
        if let first = failures.first { throw first }
        return results.compactMap(\.self)
    }
}

/// What became of the work for one image.
private struct Finished<Result: Sendable>: Sendable {
    let index: Int
    var result: Result?
    var failure: SolutionError?

    init(
        _ index: Int, _ product: ImageCatalog.Product,
        _ body: @Sendable (ImageCatalog.Product) async throws(SolutionError) -> Result
    ) async {
        self.index = index
        do throws(SolutionError) {
            result = try await body(product)
        } catch {
            failure = error
        }
    }
}

extension Sequence where Element: Hashable {
    /// Each element once, where it comes first.
    fileprivate func uniqued() -> [Element] {
        var seen: Set<Element> = []
        return filter { seen.insert($0).inserted }
    }
}

private func elapsed(since start: ContinuousClock.Instant) -> String {
    let duration = ContinuousClock.now - start
    let milliseconds = duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000
    return milliseconds < 1000 ? "\(milliseconds) ms" : "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
}
