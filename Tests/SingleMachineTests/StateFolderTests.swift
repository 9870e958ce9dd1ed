import FoundationEssentials
import Glibc
import Testing

@testable import SingleMachine

@Suite struct StateFolderTests {
    @Test func `A relative path is taken from the working folder, dots are resolved`() {
        let here = FileManager.default.currentDirectoryPath
        #expect(StateFolder("state/./x/../y").path == here + "/state/y")
        #expect(StateFolder("/a//b/").path == "/a/b")
    }

    @Test func `The instance belongs to the path`() {
        #expect(StateFolder("/a/b").instance == StateFolder("/a/./b/").instance)
        #expect(StateFolder("/a/b").instance != StateFolder("/a/c").instance)
        #expect(StateFolder("/a/b").instance.count == 8)
        #expect(InstanceNames(StateFolder("/a/b")).bridge.count <= 15)
    }

    @Test func `A path that is too long for sockets is refused with the remedy`() {
        let state = StateFolder("/tmp/" + String(repeating: "x", count: 80))
        let error = #expect(throws: UpFailure.self) { try state.create() }
        #expect(error?.description.contains("--state") == true)
    }

    @Test func `Files are for their owner only and replaced as a whole`() async throws {
        try await withTemporaryState { state in
            let path = state.path + "/secret"
            try StateFolder.write("one\n", to: path)
            try StateFolder.write("two\n", to: path)
            #expect(StateFolder.read(path) == "two")
            var status = stat()
            #expect(stat(path, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
            #expect(!StateFolder.exists(path + ".new"))
        }
    }
}
