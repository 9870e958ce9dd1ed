import JSONDocument
import SolutionTemplate
import Testing

@Suite struct BuildOptionsTests {
    private func options(_ entries: String...) throws -> BuildOptions {
        try BuildOptions(.array(entries.map(JSONValue.string)), file: "module.json")
    }

    @Test func `Options are read in both spellings`() throws {
        let options = try options(
            "--build-arg A=1", "--build-arg=B=x=y", "--build-arg HOST", "--label site=north", "--label team", "",
            "--add-host db:10.0.0.1", "--cache-from=r/a:1", "--no-cache", "--pull=false", "--target build",
            "--platform linux/arm/v7", "--network host", "-m 64m", "--memory-swap -1", "--shm-size=1g", "-c 512")
        #expect(options.arguments.map(\.name) == ["A", "B", "HOST"])
        #expect(options.arguments.map(\.value) == ["1", "x=y", nil])
        #expect(options.labels.map(\.value) == ["north", ""])
        #expect(options.extraHosts == ["db:10.0.0.1"] && options.cacheFrom == ["r/a:1"])
        #expect(options.noCache && !options.pull && options.target == "build" && options.platform == "linux/arm/v7")
        #expect(options.memory == 64 << 20 && options.memorySwap == -1 && options.sharedMemory == 1 << 30)
        #expect(options.network == "host" && options.cpuShares == "512")
    }

    @Test func `Only the second word counts, and quotes are kept`() throws {
        let options = try options("--label a b", "--build-arg X='1 2'")
        #expect(options.labels.first?.name == "a" && options.arguments.first?.value == "'1")
    }

    @Test func `Name, file and removal are ignored and told`() throws {
        #expect(try options("--tag x:1", "-f=Other", "--rm", "--file X").ignored == ["--tag", "-f", "--rm", "--file"])
    }

    @Test(arguments: [
        "--ulimit nofile=1", "--compress", "--cgroup-parent x", "--iidfile f", "--output o", "--secret src=f",
        "--cache-to", "--no-cache=maybe", "--add-host db", "--memory much", "--build-arg", "word",
    ]) func `Everything else is refused by name`(entry: String) {
        #expect {
            _ = try options(entry)
        } throws: { error in
            guard let error = error as? SolutionError else { return false }
            return error.reason.contains(entry.split { " =".contains($0) }[0]) && error.file == "module.json"
        }
    }

    @Test func `What needs BuildKit is known, and what BuildKit leaves undone`() throws {
        let modern = try options("--secret id=a,src=f", "--ssh", "--cache-to type=inline")
        #expect(modern.secrets == ["id=a,src=f"] && modern.ssh == ["default"] && modern.cacheTo == ["type=inline"])
        #expect(modern.modernOnly == ["--secret", "--ssh", "--cache-to"] && !modern.isClassicOnly)
        #expect(try options("--memory 64m").isClassicOnly && options("--network bridge").isClassicOnly)
        #expect(try !options("--network host", "--no-cache").isClassicOnly)
    }

    @Test func `The command line wins over the file`() throws {
        var options = try options("--build-arg A=1", "--target first")
        try options.add("--build-arg", "A=two words")
        try options.add("--target", "second")
        #expect(options.arguments.map(\.value) == ["two words"] && options.target == "second")
    }

    @Test func `A misspelt option is told with its place and what was meant`() throws {
        let text = ExpandedText(
            Array("{\"image\": {\n  \"buildOptions\": [\"--pull\",\n    \"--build-args A=1\"]}}".utf8), variables: [:])
        let module = try ModuleDescription(text, file: "m/module.json")
        #expect {
            _ = try module.readBuildOptions()
        } throws: { error in
            "\(error)" == "m/module.json:3:5: Not supported build option --build-args; is --build-arg meant?"
        }
    }

    @Test func `No list is no options`() throws {
        #expect(try BuildOptions(.null, file: "m") == BuildOptions())
        #expect(try BuildOptions(nil, file: "m") == BuildOptions())
        #expect(throws: SolutionError.self) { try BuildOptions("--pull", file: "m") }
    }

    @Test(arguments: ["--target", "--target=", "--platform=", "--network"])
    func `An option that a variable left without value asks for nothing`(option: String) throws {
        #expect(try options(option) == BuildOptions())
    }

    @Test(arguments: [JSONValue.null, "", [:], []])
    func `A list that is nothing in any spelling holds no options`(nothing: JSONValue) throws {
        #expect(try BuildOptions(nothing, file: "module.json") == BuildOptions())
    }
}
