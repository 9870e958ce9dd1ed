import Foundation
import JSONDocument
import SolutionTemplate
import SolutionTool
import Testing

@Suite struct SolutionTests {
    private func withFolder(_ files: [String: String], _ body: (String) async throws -> Void) async throws {
        let folder = "/tmp/hedgerow-solution-tool-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for (file, text) in files {
            let url = URL(filePath: "\(folder)/\(file)")
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
        }
        try await body(folder)
    }

    private func solution(_ folder: String, _ environment: [String: String] = [:]) throws -> Solution {
        Solution(try SolutionEnvironment(process: environment, workingFolder: folder)) { _ in }
    }

    private static let template = """
        {"$schema-template": "4.0.0", "modulesContent": {"$edgeAgent": {"properties.desired": {"systemModules": {},
          "modules": {"one": {"settings": {"image": "${MODULES.one}"}}}}}}}
        """
    private static let module = """
        {"image": {"repository": "r", "tag": {"version": "1", "platforms": {"amd64": "Dockerfile"}}}}
        """
    private static let files = ["deployment.template.json": template, "modules/one/module.json": module]

    @Test func `Nothing is written when the engine does not answer`() async throws {
        try await withFolder(Self.files) { folder in
            let solution = try solution(folder, ["DOCKER_HOST": "unix://\(folder)/none.sock"])
            await #expect {
                _ = try await solution.run(.init(builds: true, pushes: false))
            } throws: { error in
                (error as? SolutionError)?.code == .engine && "\(error)".contains("DOCKER_HOST")
            }
            #expect(!FileManager.default.fileExists(atPath: folder + "/config"))
        }
    }

    @Test func `Strict work fails on what stays unresolved, before anything is written`() async throws {
        try await withFolder(Self.files) { folder in
            let solution = try solution(folder)
            await #expect {
                _ = try await solution.run(
                    .init(builds: false, pushes: false, failsOnUnresolved: true), platform: "riscv64")
            } throws: { error in
                (error as? SolutionError)?.code == .unresolved && "\(error)".contains("${MODULES.one}")
            }
            #expect(!FileManager.default.fileExists(atPath: folder + "/config"))
        }
    }

    @Test func `A manifest that says the same already is left alone`() async throws {
        try await withFolder(Self.files) { folder in
            let solution = try solution(folder)
            let outcome = try await solution.run(.init(builds: false, pushes: false))
            let path = "\(folder)/\(outcome.manifestFile)"
            let old = Date(timeIntervalSince1970: 1_000_000_000)
            try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: path)
            _ = try await solution.run(.init(builds: false, pushes: false))
            let date = try FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
            #expect(date == old)
        }
    }

    @Test(arguments: [
        ("IOTHUB_CONNECTION_STRING", "HostName=h;SharedAccessKey=hush"),
        ("DEVICE_CONNECTION_STRING", "DeviceId=d;SharedAccessKey=hush"), ("IOTHUB_CONNECTION_STRING", "hush"),
    ]) func `A malformed connection string is refused without being shown`(name: String, value: String) {
        #expect {
            _ = try SolutionEnvironment(process: [name: value], workingFolder: "/tmp")
        } throws: { error in
            "\(error)".contains(name) && !"\(error)".contains("hush")
        }
    }

    @Test func `A new solution can be expanded at once and breaks no rule`() async throws {
        try await withFolder([:]) { folder in
            let here = try SolutionEnvironment(process: [:], workingFolder: folder)
            for language in [ModuleLanguage.python, .nodejs, .csharp, .generic] {
                let name = "s-\(language.rawValue)"
                let files = try NewSolution(here).make(name, module: "probe", language: language, runtime: "1.5")
                #expect(files.contains("\(name)/modules/probe/module.json"))
                let outcome = try await solution("\(folder)/\(name)").run(
                    .init(builds: false, pushes: false, failsOnUnresolved: true), platform: "arm32v7")
                #expect(outcome.violations.isEmpty)
                #expect(outcome.images.map(\.tag) == ["localhost:5000/probe:0.0.1-arm32v7"])
            }
        }
    }

    @Test func `Adding writes no secret into the template and refuses a name that is taken`() async throws {
        try await withFolder([:]) { folder in
            let here = try SolutionEnvironment(process: [:], workingFolder: folder)
            _ = try NewSolution(here).make(".", module: "one", language: .generic, runtime: "1.5")
            let inside = try SolutionEnvironment(process: ["EDGE_RUNTIME_VERSION": "hush"], workingFolder: folder)
            _ = try NewModule(inside).add("two", language: .generic)
            let text = try String(contentsOfFile: folder + "/deployment.template.json", encoding: .utf8)
            #expect(text.contains("${EDGE_RUNTIME_VERSION}") && !text.contains("hush") && text.contains("twoToIoTHub"))
            #expect(throws: SolutionError.self) { try NewModule(inside).add("two", language: .generic) }
            #expect(throws: SolutionError.self) { try NewModule(inside).add("_x", language: .generic) }
            #expect(throws: SolutionError.self) {
                try NewSolution(here).make(".", module: "one", language: .generic, runtime: "1.5")
            }
        }
    }

    @Test func `A missing template and a broken module description are told with their files`() async throws {
        try await withFolder(["modules/x/module.json": "{ \"image\": "]) { folder in
            await #expect {
                _ = try await solution(folder).run(.init(builds: false, pushes: false))
            } throws: { error in
                "\(error)".contains("deployment.template.json") && (error as? SolutionError)?.code == .missingFile
            }
            try Data(Self.template.utf8).write(to: URL(filePath: folder + "/deployment.template.json"))
            await #expect {
                _ = try await solution(folder).run(.init(builds: false, pushes: false))
            } throws: { error in
                "\(error)".hasPrefix("modules/x/module.json:1:") && (error as? SolutionError)?.code == .malformed
            }
        }
    }
}
