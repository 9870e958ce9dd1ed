import Testing

@testable import SingleMachine

@Suite struct SolutionFolderTests {
    private func solution(_ state: StateFolder, below: String = "") throws -> SolutionFolder {
        let folder = state.path + "/solution"
        try StateFolder.makeFolder(folder + below + "/twins")
        try StateFolder.write("{}", to: folder + below + "/deployment.template.json")
        try StateFolder.write("{}", to: folder + below + "/twins/B.json")
        try StateFolder.write("{}", to: folder + below + "/twins/A.json")
        try StateFolder.write("x", to: folder + below + "/twins/notes.txt")
        try StateFolder.write(
            "# comment\nMODULES_PATH=../src\nexport CONTAINER_REGISTRY_SERVER = \"registry.lan:5000\"\n",
            to: folder + below + "/.env")
        return try SolutionFolder(folder)
    }

    @Test func `The template lies in the folder or in its build folder`() async throws {
        try await withTemporaryState { state in
            let folder = try solution(state, below: "/.build").templateFolder
            #expect(folder == state.path + "/solution/.build")
        }
        try await withTemporaryState { state in
            let folder = try solution(state).templateFolder
            #expect(folder == state.path + "/solution")
        }
    }

    @Test func `A folder without a template is refused`() async throws {
        try await withTemporaryState { state in
            let error = #expect(throws: UpFailure.self) { try SolutionFolder(state.path) }
            #expect(error?.description.contains("deployment.template.json") == true)
        }
    }

    @Test func `Twins are named by their files, in order`() async throws {
        try await withTemporaryState { state in
            let modules = try solution(state).twins.map(\.module)
            #expect(modules == ["A", "B"])
        }
    }

    @Test func `A configured registry is used, the environment before the file`() async throws {
        try await withTemporaryState { state in
            let solution = try solution(state)
            #expect(Registry.configured([:], solution)?.server == "registry.lan:5000")
            #expect(Registry.configured(["CONTAINER_REGISTRY_SERVER": "other"], solution)?.server == "other")
            #expect(Registry.configured(["CONTAINER_REGISTRY_SERVER": ""], solution) == nil)
        }
    }
}
