import Foundation
import SolutionTemplate
import SolutionTool
import Testing

/// Every kind of bad input is told with file, line and column, the name of what is wrong, and what to do.
@Suite struct BadInputTests {
    /// A good solution of which one file is replaced.
    struct Input: Sendable, CustomTestStringConvertible {
        let file: String
        let text: String
        /// `file:line:column`, or the file alone.
        let place: String
        let told: [String]
        var variables: [String: String] = [:]

        var testDescription: String { "\(place) \(told.joined(separator: " "))" }

        init(_ file: String, _ text: String, at place: String, _ told: String..., variables: [String: String] = [:]) {
            self.file = file
            self.text = text
            self.place = place
            self.told = told
            self.variables = variables
        }
    }

    private static let template = "deployment.template.json"
    private static let module = "modules/one/module.json"
    private static let files = [
        template: """
        {"$schema-template": "4.0.0", "modulesContent": {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
          "runtime": {"type": "docker", "settings": {}}, "systemModules": {
            "edgeAgent": {"type": "docker", "settings": {"image": "agent:1", "createOptions": {}}},
            "edgeHub": {"type": "docker", "status": "running", "restartPolicy": "always",
              "settings": {"image": "hub:1", "createOptions": {}}}},
          "modules": {
            "one": {"type": "docker", "status": "running", "restartPolicy": "always",
              "settings": {"image": "${MODULES.one}", "createOptions": {}}}}}},
         "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {
            "up": "FROM /messages/* INTO $upstream"}}}}}
        """,
        module: """
        {"image": {"repository": "r", "tag": {"version": "1",
          "platforms": {"amd64": "Dockerfile"}},
          "buildOptions": ["--label a=b"]}}
        """,
        "modules/one/Dockerfile": "FROM scratch\n",
    ]

    private static func changed(_ file: String, _ old: String, _ new: String) -> String {
        (files[file] ?? "").replacingOccurrences(of: old, with: new)
    }

    /// What stops the work.
    private static let fatal = [
        Input(template, "{\n  \"a\": 1,\n  oops\n}", at: "\(template):3:3", "'o'"),
        Input(template, "// first\n{ /* more\n */ \"a\": [1,, 2]}", at: "\(template):3:13", "','"),
        Input(template, "{\"a\": \"x", at: "\(template):1:", "text"),
        Input(template, "{\"a\": 1} x", at: "\(template):1:10", "after the end"),
        Input(template, "", at: "\(template):1:1", "value"),
        Input(template, "{\"a\": NaN}", at: "\(template):1:7", "'N'"),
        Input(
            template, "{\n \"a\": $COUNT}", at: "\(template):2:7", "variable COUNT is not set"),
        Input(
            template, "{\n \"a\": \"$NAME\"}", at: "\(template):2:8", "inside the value of the variable NAME",
            variables: ["NAME": "one\ntwo"]),
        Input(template, "[]", at: "\(template):1:1", "\"modulesContent\""),
        Input(template, "{\"x\": 1}", at: "\(template):1:1", "missing key \"modulesContent\"", "layer"),
        Input(
            template, changed(template, "\"$schema-template\": \"4.0.0\"", "\"$schema-template\": 4"),
            at: "\(template):1:22", "\"$schema-template\"", "text such as"),
        Input(
            template, changed(template, "\"modules\": {", "\"other\": {"), at: "\(template):1:",
            "missing key \"modules\""),
        Input(
            template, changed(template, "\"image\": \"${MODULES.one}\", ", ""), at: "\(template):8:", "\"one\"", "image"
        ),
        Input(
            template, changed(template, "${MODULES.one}", "${MODULEDIR<../two>}"), at: "\(template):8:29", "\"one\"",
            "no module.json", "relative to the template"),
        Input(
            template,
            changed(
                template, "one}\", \"createOptions\": {}",
                "one}\", \"createOptions\": \"" + String(repeating: "x", count: 5000) + "\""),
            at: "\(template):8:64", "createOptions of one", "at most 4096"),
        Input(module, "{\"image\": {\n\"repository\": }}", at: "\(module):2:15", "'}'"),
        Input(module, "// c\n{\"image\": [1]}", at: "\(module):2:11", "\"image\" must be an object"),
        Input(
            module, changed(module, "\"version\": \"1\"", "\"version\": [1]"), at: "\(module):1:50", "\"version\"",
            "text such as"),
        Input(
            module, changed(module, "\"amd64\": \"Dockerfile\"", "\"amd64\": 5"), at: "\(module):2:26", "\"amd64\"",
            "path of a Dockerfile"),
        Input(
            module, changed(module, "\"--label a=b\"", "\"--label a=b\", \"--labl x\""), at: "\(module):3:35",
            "--labl", "--label meant"),
        Input(module, changed(module, "--label a=b", "--no-cache=maybe"), at: "\(module):3:20", "true or false"),
        Input(module, changed(module, "[\"--label a=b\"]", "5"), at: "\(module):3:19", "list of texts such as"),
        Input(
            module, changed(module, "\"Dockerfile\"", "\"Dockerfil\""), at: "\(module):2:26", "\"amd64\"", "Dockerfil"),
        Input(
            module, changed(module, "\"buildOptions\"", "\"contextPath\": \"no\", \"buildOptions\""),
            at: "\(module):3:18", "contextPath"),
    ]

    @Test(arguments: fatal)
    func `What stops the work is told with its place, its name and the remedy`(input: Input) async throws {
        try await withSolution(input) { folder, environment in
            let validation = SolutionValidation(environment)
            let findings = validation.findings(templateFile: Self.template, platforms: ["amd64"])
            let found = findings.map(\.sentence)
            #expect(
                found.contains { text in text.hasPrefix(input.place) && input.told.allSatisfy(text.contains) },
                "\(found)")
            #expect(findings.contains { $0.severity == .error })
            // The commands stop there, and write nothing.
            let solution = Solution(environment) { _ in }
            var work = Solution.Work(builds: true, pushes: false)
            work.builder = .classic
            await #expect(throws: SolutionError.self) { _ = try await solution.run(work, platform: "amd64") }
            #expect(!FileManager.default.fileExists(atPath: folder + "/config"))
        }
    }

    /// What only `validate` and `--strict` take amiss, or the flag for the schema.
    private static let doubtful = [
        Input(template, changed(template, "hub:1", "hub:${TAG}"), at: "\(template):5:34", "variable TAG is not set"),
        Input(
            template, changed(template, "${MODULES.one}", "${MODULES.won}"), at: "\(template):8:29", "\"one\"",
            "no module of the solution"),
        Input(
            template, changed(template, "FROM /messages/* INTO", "FROM /messages/* INT"), at: "\(template):10:",
            "\"up\""),
        Input(
            template, changed(template, "FROM /messages/*", "FROM /messages/modules/onee/*"), at: "\(template):10:",
            "\"onee\"", "\"one\" meant"),
        Input(
            template,
            changed(
                template,
                "\"status\": \"running\", \"restartPolicy\": \"always\",\n      \"settings\": {\"image\": \"${",
                "\"status\": \"running\", \"restartPolicy\": \"sometimes\",\n      \"settings\": {\"image\": \"${"),
            at: "\(template):7:", "restartPolicy", "always"),
        Input(
            template,
            changed(template, "one}\", \"createOptions\": {}", "one}\", \"createOptions\": {\"HostConfg\": {}}"),
            at: "\(template):8:", "\"one\"", "HostConfg", "HostConfig"),
        Input(
            template, changed(template, "one}\", \"createOptions\": {}", "one}\", \"createOptions\": \"{\""),
            at: "\(template):8:", "createOptions", "JSON"),
        Input(template, changed(template, "hub:1", "hub :1"), at: "\(template):5:29", "hub :1", "blank"),
        Input(module, changed(module, "\"repository\"", "\"repositry\""), at: "\(module):1:11", "repositry"),
        Input(".env", "A=1\nB=\"open\nC=2", at: ".env:2:1", "NAME=value", "quote"),
        Input(".env", "=x", at: ".env:1:1", "NAME=value"),
    ]

    @Test(arguments: doubtful)
    func `What a check finds is told with its place, its name and the remedy`(input: Input) async throws {
        try await withSolution(input) { _, environment in
            let found = SolutionValidation(environment).findings(templateFile: Self.template, platforms: ["amd64"])
                .map(\.sentence)
            #expect(
                found.contains { text in text.hasPrefix(input.place) && input.told.allSatisfy(text.contains) },
                "\(found)")
        }
    }

    @Test func `The good solution behind these has no findings`() async throws {
        try await withSolution(Input(".env", "# nothing", at: "")) { _, environment in
            let found = SolutionValidation(environment).findings(templateFile: Self.template, platforms: ["amd64"])
            #expect(found == [])
        }
    }

    private func withSolution(
        _ input: Input, _ body: (String, SolutionEnvironment) async throws -> Void
    ) async throws {
        let folder = "/tmp/hedgerow-bad-input-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for (file, text) in Self.files.merging([input.file: input.text], uniquingKeysWith: { $1 }) {
            let url = URL(filePath: "\(folder)/\(file)")
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
        }
        let process = input.variables.merging(["DOCKER_HOST": "unix://\(folder)/none.sock"]) { $1 }
        try await body(folder, try SolutionEnvironment(process: process, workingFolder: folder))
    }
}
