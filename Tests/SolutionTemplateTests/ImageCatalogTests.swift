import SolutionTemplate
import Testing

@Suite struct ImageCatalogTests {
    private func module(_ image: String) throws -> ModuleDescription {
        try ModuleDescription(ExpandedText(Array("{\"image\": \(image)}".utf8), variables: [:]), file: "module.json")
    }

    private func catalog(tag: String = "") throws -> ImageCatalog {
        var catalog = ImageCatalog(platform: "arm64v8", containerTag: tag)
        let text =
            #"{"repository": "R.example/Team/Alpha", "tag": {"version": "1.B", "platforms": {"amd64": "A", "arm64v8": "B", "arm64v8.debug": "C"}}}"#
        catalog.add(moduleNamed: "a.b", try module(text), folder: "modules/a.b")
        catalog.add(moduleAt: "../libs/x", try module(text), folder: "../libs/x")
        return catalog
    }

    @Test(arguments: [
        ("${MODULES.a.b}", "arm64v8"), ("${MODULES.a.b.amd64}", "amd64"), ("${MODULES.a.b.debug}", "arm64v8.debug"),
        ("${MODULES.a.b.arm64v8.debug}", "arm64v8.debug"), ("${MODULEDIR<../libs/x>}", "arm64v8"),
        ("${MODULEDIR<../libs/x>.amd64}", "amd64"), ("${MODULEDIR<../libs/x>.debug}", "arm64v8.debug"),
        ("r.example/team/alpha:1.B-amd64", "amd64"),
    ]) func `An image is found by its placeholder or its own name`(image: String, platform: String) throws {
        let product = try #require(try catalog().product(for: image))
        #expect(product.platform == platform && product.tag == "r.example/team/alpha:1.B-\(platform)")
    }

    @Test(arguments: [
        "${MODULES.a}", "${modules.a.b}", "x${MODULES.a.b}", "${MODULES.a.b.riscv64}", "${MODULEDIR<libs/x>}",
        "r.example/team/alpha:1.b-amd64",
    ]) func `Anything else stays`(image: String) throws { #expect(try catalog().product(for: image) == nil) }

    @Test(arguments: [
        (#"{"repository": "r", "tag": {"version": "2", "platforms": {"p": "D"}}}"#, "r:2-rc1-p"),
        (#"{"repository": "r", "tag": {"version": "", "platforms": {"p": "D"}}}"#, "r:-rc1-p"),
        (#"{"repository": "r", "tag": {"platforms": {"p": "D"}}}"#, "r:0.0.0-rc1-p"),
        (#"{"tag": {"version": 1.10, "platforms": {"p": "D"}}}"#, ":1.1-rc1-p"),
    ]) func `A tag is made of repository, version, container tag and platform`(image: String, tag: String) throws {
        #expect(try module(image).tag(platform: "p", containerTag: "rc1") == tag)
    }

    @Test(
        arguments: [
            ("${MODULEDIR<libs/near>}", "libs/near"), ("${MODULEDIR<./a.b>.arm32v7}", "./a.b"), ("${MODULEDIR<>}", nil),
            ("${MODULES.x}", nil), ("plain", nil),
        ] as [(String, String?)]) func `The path of a module's folder is taken from its placeholder`(
            image: String, path: String?
        )
    { #expect(ImageCatalog.modulePath(in: image) == path) }
}
