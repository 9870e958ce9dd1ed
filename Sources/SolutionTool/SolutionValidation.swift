import JSONDocument
package import SolutionTemplate

/// Everything about a solution that can be known before anything runs, found in one go.
package struct SolutionValidation: Sendable {
    private let environment: SolutionEnvironment

    package init(_ environment: SolutionEnvironment) { self.environment = environment }

    /// What is wrong, and what looks so, in the order of files and places; each thing once.
    ///
    /// - Parameters:
    ///   - templateFile: relative to the working folder.
    ///   - platforms: at least one.
    package func findings(templateFile: String, platforms: [String]) -> [SolutionFinding] {
        var all: [SolutionFinding] = []
        func add(_ findings: [SolutionFinding]) {
            for finding in findings where !all.contains(finding) { all.append(finding) }
        }
        add(environment.notes)
        let folder = Paths.join(Paths.folder(of: templateFile), environment.modulesPath)
        for name in LocalFiles.names(in: environment.path(folder)) ?? [] {
            add(checkModule(Paths.join(folder, name)))
        }
        for platform in platforms {
            do throws(SolutionError) {
                let plan = try SolutionPlan(environment, templateFile: templateFile, platform: platform)
                add(plan.unresolvedFindings)
                add(plan.template.findings(file: templateFile))
                for product in plan.products { add(checkProduct(product)) }
            } catch {
                add([SolutionFinding(error, file: templateFile)])
            }
        }
        return all.sorted {
            ($0.file, $0.place?.line ?? 0, $0.place?.column ?? 0) < (
                $1.file, $1.place?.line ?? 0, $1.place?.column ?? 0
            )
        }
    }

    private func checkModule(_ folder: String) -> [SolutionFinding] {
        let file = Paths.join(folder, "module.json")
        guard LocalFiles.status(environment.path(file)) != nil else { return [] }
        var findings: [SolutionFinding] = []
        do throws(SolutionError) {
            let content: [UInt8]
            do {
                content = try LocalFiles.read(environment.path(file))
            } catch {
                throw SolutionError(.missingFile, "cannot be read: \(error)", file: file)
            }
            let text = ExpandedText(content, variables: environment.variables)
            let module = try ModuleDescription(text, file: file)
            for (violation, place) in module.violations() {
                let name = violation.path.last.map { "\"\($0)\": " } ?? ""
                findings.append(
                    SolutionFinding(
                        violation.isUnknownMember ? .warning : .error, .schema, name + violation.reason, file: file,
                        place: place))
            }
            for platform in module.platforms {
                let dockerfile = Paths.normalized(Paths.join(folder, platform.dockerfile))
                guard LocalFiles.status(environment.path(dockerfile)) == nil else { continue }
                findings.append(
                    SolutionFinding(
                        .error, .file,
                        "the Dockerfile of the platform \"\(platform.name)\" does not exist: \(dockerfile)",
                        file: file, place: text.place(of: ["image", "tag", "platforms", platform.name])))
            }
            let context = Paths.normalized(Paths.join(folder, module.contextPath))
            if !LocalFiles.isFolder(environment.path(context)) {
                findings.append(
                    SolutionFinding(
                        .error, .file, "\"contextPath\" leads to no folder: \(context)", file: file,
                        place: text.place(of: ["image", "contextPath"])))
            }
            _ = try module.readBuildOptions()
        } catch {
            findings.append(SolutionFinding(error, file: file))
        }
        return findings
    }

    /// Whether the Dockerfile is for the platform under whose name it stands.
    private func checkProduct(_ product: ImageCatalog.Product) -> [SolutionFinding] {
        let file = Paths.normalized(Paths.join(product.folder, product.dockerfile))
        guard let content = try? LocalFiles.read(environment.path(file)) else { return [] }
        let options = try? product.module.readBuildOptions()
        let arguments = (options?.arguments ?? []).compactMap { pair in pair.value.map { (pair.name, $0) } }
        let facts = DockerfileFacts(
            String(decoding: content, as: UTF8.self), arguments: Dictionary(arguments, uniquingKeysWith: { $1 }))
        guard let expected = PlatformProcessor.of(product.platform) else { return [] }
        return facts.platforms.compactMap { platform in
            guard let named = PlatformProcessor.of(platform.name), named != expected, !platform.name.contains("$")
            else {
                return nil
            }
            return SolutionFinding(
                .warning, .platform,
                "FROM is for \(platform.name), but the Dockerfile is that of the platform \"\(product.platform)\"",
                file: file, place: SourcePlace(line: platform.line, column: 1))
        }
    }
}

/// The processor that the name of a platform stands for, as far as it is one of the usual ones.
enum PlatformProcessor {
    static func of(_ platform: String) -> String? {
        let name = platform.lowercased().replacing(".debug", with: "")
        switch name.hasPrefix("linux/") ? String(name.dropFirst(6)) : name {
        case "amd64", "x86_64": return "amd64"
        case "arm32v7", "arm/v7", "arm", "armhf": return "arm"
        case "arm64v8", "arm64", "arm64/v8", "aarch64": return "arm64"
        default: return nil
        }
    }
}
