package import SolutionTemplate

/// Who runs pipelines.
package enum PipelineSystem: String, CaseIterable, Sendable {
    case azurePipelines = "azure-pipelines"
    case github, gitlab

    /// Relative to the repository's root.
    var file: String {
        switch self {
        case .azurePipelines: "azure-pipelines.yml"
        case .github: ".github/workflows/edge.yml"
        case .gitlab: ".gitlab-ci.yml"
        }
    }
}

/// A pipeline for a solution: check, build and push each platform in a job of its own, then create the deployments and
/// set the twins.
package struct PipelineFile: Sendable {
    /// What the pipeline takes from the system's secret variables.
    package static let secrets = [
        "CONTAINER_REGISTRY_SERVER", "CONTAINER_REGISTRY_USERNAME", "CONTAINER_REGISTRY_PASSWORD",
        "HEDGEROW_CONNECTION_STRING", "HEDGEROW_CA_PEM",
    ]

    private let system: PipelineSystem
    private let environment: SolutionEnvironment
    /// Absolute.
    private let root: String
    private let script: PipelineScript
    private let platforms: [String]

    /// - Parameters:
    ///   - platforms: empty for those that every module of the template has a Dockerfile for.
    /// - Throws: `badStructure` when there is no such platform.
    package init(
        _ system: PipelineSystem, _ environment: SolutionEnvironment, templateFile: String, platforms: [String],
        targetCondition: String, priority: Int
    ) throws(SolutionError) {
        self.system = system
        self.environment = environment
        let plan = try SolutionPlan(environment, templateFile: templateFile, platform: environment.defaultPlatform)
        var found = platforms
        if found.isEmpty {
            let modules = plan.productsByModule.values.map(\.module)
            found = (modules.first?.platforms.map(\.name) ?? []).filter { name in
                !name.hasSuffix(".debug") && modules.allSatisfy { $0.platforms.contains { $0.name == name } }
            }
        }
        guard !found.isEmpty else {
            throw SolutionError(
                .badStructure, "no platform has a Dockerfile in every module; name some with --platform",
                file: templateFile)
        }
        self.platforms = found
        root = Self.root(above: environment.workingFolder)
        script = PipelineScript(
            folder: Paths.relative(environment.workingFolder, inside: root) ?? ".", template: templateFile,
            output: environment.outputFolder, targetCondition: targetCondition, priority: priority,
            hasSeveralPlatforms: found.count > 1,
            manifest: Paths.name(of: plan.manifestFile).replacing(
                ".\(environment.defaultPlatform).", with: ".$PLATFORM."))
    }

    /// The folder with `.git` above a folder, or the folder itself.
    private static func root(above folder: String) -> String {
        var path = Paths.normalized(folder)
        while path != "/", !path.isEmpty {
            if LocalFiles.status(path + "/.git") != nil { return path }
            path = Paths.folder(of: path)
        }
        return Paths.normalized(folder)
    }

    /// - Returns: the file's path.
    /// - Throws: `unwritable` when there is one already that is not to be replaced.
    package func write(replacing: Bool) throws(SolutionError) -> String {
        let path = Paths.join(root, system.file)
        guard replacing || LocalFiles.status(path) == nil else {
            throw SolutionError(.unwritable, "is there already; --force writes over it", file: path)
        }
        try LocalFiles.makeFolder(Paths.folder(of: path))
        try LocalFiles.write(Array(text.utf8), to: path)
        return path
    }

    /// The file's text.
    var text: String {
        switch system {
        case .azurePipelines: azurePipelines
        case .github: github
        case .gitlab: gitlab
        }
    }

    private func indented(_ text: String, by count: Int) -> String {
        let blanks = String(repeating: " ", count: count)
        return text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.isEmpty ? "" : blanks + $0 }
            .joined(separator: "\n")
    }

    private var heading: String {
        """
        # Made by `hedgerow init --ci \(system.rawValue)`. Secret variables to set: CONTAINER_REGISTRY_SERVER,
        # CONTAINER_REGISTRY_USERNAME, CONTAINER_REGISTRY_PASSWORD, HEDGEROW_CONNECTION_STRING (a policy of the hub that may
        # write), HEDGEROW_CA_PEM (the hub's root certificate, unless a public authority signed it). Optional: HEDGEROW_URL
        # (where to fetch the program when the machine does not have it), HEDGEROW_HTTPS_PORT, DEVICE_ID (whose twins are
        # set from the files in twins/).
        """
    }

    private var secretVariables: [String] { Self.secrets + ["HEDGEROW_HTTPS_PORT", "DEVICE_ID", "HEDGEROW_URL"] }

    private var azurePipelines: String {
        let secrets = secretVariables.map { "\($0): $(\($0))" }
        let matrix = platforms.map { platform in
            "\(platform.map { $0.isLetter || $0.isNumber ? String($0) : "_" }.joined()):\n  PLATFORM: \(platform)"
        }.joined(separator: "\n")
        func step(_ name: String, _ script: String, at level: Int) -> String {
            """
            - script: |
            \(indented(script, by: 4))
              displayName: \(name)
              workingDirectory: \(self.script.folder)
              env:
                PLATFORM: $(PLATFORM)
                BUILD_BUILDID: $(Build.BuildId)
            \(indented(secrets.joined(separator: "\n"), by: 4))
            """.split(separator: "\n", omittingEmptySubsequences: false).map { indented(String($0), by: level) }
                .joined(separator: "\n")
        }
        let path = "echo \"##vso[task.prependpath]$HOME/.local/bin\""
        return """
            \(heading)
            trigger:
              branches:
                include: [main]
            stages:
              - stage: images
                jobs:
                  - job: image
                    strategy:
                      matrix:
            \(indented(matrix, by: 12))
                    pool:
                      vmImage: ubuntu-latest
                    steps:
            \(step("Install hedgerow", script.install(path: path), at: 10))
            \(step("Check", script.azure(script.check), at: 10))
            \(step("Build", script.azure(script.build), at: 10))
            \(step("Push", script.azure(script.push), at: 10))
                      - publish: \(Paths.join(script.folder, script.output))
                        artifact: manifest-$(PLATFORM)
              - stage: deployment
                jobs:
                  - job: deploy
                    strategy:
                      matrix:
            \(indented(matrix, by: 12))
                    pool:
                      vmImage: ubuntu-latest
                    steps:
                      - download: current
                        artifact: manifest-$(PLATFORM)
                      - script: |
                          mkdir -p "\(script.output)"
                          if [ -d "$PIPELINE_WORKSPACE/manifest-$PLATFORM" ]; then cp "$PIPELINE_WORKSPACE/manifest-$PLATFORM/"*.json "\(script.output)/"; fi
                        displayName: Manifest
                        workingDirectory: \(script.folder)
                        env:
                          PLATFORM: $(PLATFORM)
            \(step("Install hedgerow", script.install(path: path), at: 10))
            \(step("Deploy", script.azure(script.deploy), at: 10))
            \(step("Twins", script.azure(script.twins), at: 10))

            """
    }

    private var github: String {
        let secrets = secretVariables.map { name in "\(name): ${{ secrets.\(name) }}" }.joined(separator: "\n")
        let path = #"echo "$HOME/.local/bin" >> "$GITHUB_PATH""#
        func step(_ name: String, _ script: String) -> String {
            """
                  - name: \(name)
                    run: |
            \(indented(script, by: 10))
            """
        }
        let job = """
                runs-on: ubuntu-latest
                strategy:
                  matrix:
                    platform: [\(platforms.joined(separator: ", "))]
                env:
                  PLATFORM: ${{ matrix.platform }}
                defaults:
                  run:
                    working-directory: \(script.folder)
                steps:
                  - uses: actions/checkout@v4
            """
        return """
            \(heading)
            name: edge
            on:
              push:
                branches: [main]
            env:
              BUILD_BUILDID: ${{ github.run_number }}
            \(indented(secrets, by: 2))
            jobs:
              image:
            \(job)
            \(step("Install hedgerow", script.install(path: path)))
            \(step("Check", script.check))
            \(step("Build", script.build))
            \(step("Push", script.push))
                  - uses: actions/upload-artifact@v4
                    with:
                      name: manifest-${{ matrix.platform }}
                      path: \(Paths.join(script.folder, script.output))
              deploy:
                needs: image
            \(job)
                  - uses: actions/download-artifact@v4
                    with:
                      name: manifest-${{ matrix.platform }}
                      path: \(Paths.join(script.folder, script.output))
            \(step("Install hedgerow", script.install(path: path)))
            \(step("Deploy", script.deploy))
            \(step("Twins", script.twins))

            """
    }

    private var gitlab: String {
        func item(_ script: String) -> String { "    - |\n\(indented(script, by: 6))" }
        let path = #"export PATH="$HOME/.local/bin:$PATH""#
        let matrix = """
              parallel:
                matrix:
                  - PLATFORM: [\(platforms.joined(separator: ", "))]
            """
        return """
            \(heading)
            stages: [images, deployment]
            variables:
              BUILD_BUILDID: $CI_PIPELINE_IID
            image:
              stage: images
            \(matrix)
              script:
            \(item(script.install(path: path)))
            \(item("cd \"\(script.folder)\"\n" + script.check))
            \(item(script.build))
            \(item(script.push))
              artifacts:
                paths:
                  - \(Paths.join(script.folder, script.output))
            deploy:
              stage: deployment
            \(matrix)
              script:
            \(item(script.install(path: path)))
            \(item("cd \"\(script.folder)\"\n" + script.deploy))
            \(item(script.twins))

            """
    }
}

/// The steps as a shell runs them, the same for all systems. Each stands by itself: it needs only its variables.
private struct PipelineScript: Sendable {
    /// Of the solution, relative to the repository's root.
    let folder: String
    let template: String
    let output: String
    let targetCondition: String
    let priority: Int
    let hasSeveralPlatforms: Bool
    /// With `$PLATFORM` in it.
    let manifest: String

    private func quoted(_ text: String) -> String { "'" + text.replacing("'", with: #"'\''"#) + "'" }

    func install(path: String) -> String {
        """
        if ! command -v hedgerow > /dev/null; then
          mkdir -p "$HOME/.local/bin"
          curl -fsSL "$HEDGEROW_URL" -o "$HOME/.local/bin/hedgerow"
          chmod +x "$HOME/.local/bin/hedgerow"
          \(path)
        fi
        """
    }

    /// In Azure Pipelines a variable that nobody has set comes as its own name in brackets.
    func azure(_ script: String) -> String {
        """
        case "$HEDGEROW_HTTPS_PORT" in '$('*) unset HEDGEROW_HTTPS_PORT ;; esac
        case "$HEDGEROW_CA_PEM" in '$('*) unset HEDGEROW_CA_PEM ;; esac
        case "$DEVICE_ID" in '$('*) unset DEVICE_ID ;; esac
        """ + "\n" + script
    }

    var check: String { "hedgerow validate -f \(quoted(template)) -P \"$PLATFORM\"" }
    var build: String { "hedgerow build -f \(quoted(template)) -P \"$PLATFORM\"" }
    var push: String {
        "hedgerow push --no-build --pin --credentials env -f \(quoted(template)) -P \"$PLATFORM\""
    }

    private var trust: String {
        """
        if [ -n "${HEDGEROW_CA_PEM:-}" ]; then
          printf '%s\\n' "$HEDGEROW_CA_PEM" > "$HOME/hedgerow-hub-ca.pem"
          export HEDGEROW_CA="$HOME/hedgerow-hub-ca.pem"
        fi
        """
    }

    var deploy: String {
        let condition =
            hasSeveralPlatforms
            ? "\(quoted("(\(targetCondition)) AND tags.platform='"))\"$PLATFORM\"\"'\"" : quoted(targetCondition)
        return """
            \(trust)
            hedgerow deployment create "edge-$PLATFORM-$BUILD_BUILDID" --content "\(output)/\(manifest)" --target-condition \(condition) --priority \(priority)
            """
    }

    var twins: String {
        """
        \(trust)
        if [ -n "${DEVICE_ID:-}" ] && [ -d twins ]; then
          for twin in twins/*.json; do
            module=$(basename "$twin" .json)
            for attempt in 1 2 3 4 5 6 7 8 9 10; do
              if hedgerow twin update "$DEVICE_ID" "$module" --file "$twin"; then break; fi
              if [ $attempt = 10 ]; then exit 1; fi
              sleep 2
            done
          done
        fi
        """
    }
}
