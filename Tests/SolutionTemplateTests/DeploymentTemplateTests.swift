import JSONDocument
import SolutionTemplate
import Testing

@Suite struct DeploymentTemplateTests {
    private func template(_ text: String) throws -> DeploymentTemplate {
        try DeploymentTemplate(ExpandedText(Array(text.utf8), variables: [:]), file: "t.template.json")
    }

    private func whole(modules: String, schema: String = "4.0.0") -> String {
        """
        {"$schema-template": "\(schema)", "modulesContent": {
          "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
            "runtime": {"type": "docker", "settings": {}},
            "systemModules": {
              "edgeAgent": {"type": "docker", "settings": {"image": "a", "createOptions": {}}},
              "edgeHub": {"type": "docker", "status": "running", "restartPolicy": "always",
                "settings": {"image": "h", "createOptions": {}}}},
            "modules": {\(modules)}}},
          "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {}}}}}
        """
    }

    private func module(_ settings: String) -> String {
        """
        "m": {"type": "docker", "status": "running", "restartPolicy": "always", "settings": {\(settings)}}
        """
    }

    private func converted(_ options: String) throws -> JSONObject {
        var template = try template(whole(modules: module(#""image": "i", "createOptions": \#(options), "x": 1"#)))
        try template.convertCreateOptions()
        let path = ["modulesContent", "$edgeAgent", "properties.desired", "modules", "m", "settings"]
        return try #require(template.manifestJSON.at(path)?.object)
    }

    @Test(arguments: [
        (#"{"z": 1, "a": {"y": "/x"}}"#, #"{"z":1,"a":{"y":"/x"}}"#), ("{}", "{}"), ("null", "null"),
        ("[1, 2]", "[1,2]"),
        (#""{ \"a\" : 1 }""#, #"{ "a" : 1 }"#), (#""""#, ""), (#"{"n": 9007199254740993}"#, #"{"n":9007199254740993}"#),
        (#"{"ä": "é😀"}"#, #"{"\u00e4":"\u00e9\ud83d\ude00"}"#),
        (#"{"f": [1.50, 1e5, 2.0]}"#, #"{"f":[1.5,100000.0,2.0]}"#),
        ("true", "true"),
    ]) func `Create options become text; a text stays as it is`(options: String, text: String) throws {
        #expect(try converted(options)["createOptions"] == .string(text))
    }

    @Test func `Long create options are cut at 512 characters into up to eight pieces behind the other settings`()
        throws
    {
        let full = try converted("\"" + String(repeating: "ä", count: 4096) + "\"")
        #expect(
            full.keys == ["image", "createOptions", "x"] + (1...7).map { "createOptions0\($0)" })
        #expect(full["createOptions07"]?.string?.count == 512)
        let two = try converted("\"" + String(repeating: "a", count: 513) + "\"")
        #expect(two["createOptions01"] == "a")
        #expect(throws: SolutionError.self) { try converted("\"" + String(repeating: "a", count: 4097) + "\"") }
    }

    @Test(arguments: [
        ("deployment.template.json", "4.0.0", "deployment.arm32v7.json"), ("plant.json", "4.0.0", "plant.arm32v7.json"),
        ("plant.tmpl", "4.0.0", "deployment.arm32v7.json"), ("deployment.template.json", "0.0.1", "deployment.json"),
        ("deployment.debug.template.json", "1.0.0", "deployment.debug.arm32v7.json"), ("a.json", "", "a.json"),
    ]) func `The manifest is named after the template`(file: String, schema: String, name: String) throws {
        let template = try template(whole(modules: "", schema: schema))
        #expect(template.manifestName(templateName: file, platform: "arm32v7") == name)
    }

    @Test(arguments: [
        (
            #"{"content": {"modulesContent": {"$edgeAgent": {"properties.desired.modules.m": {"settings": {"image": "i", "createOptions": {}}}}}}}"#,
            true
        ),
        (
            #"{"content": {"modulesContent": {"$edgeAgent": {"properties.desired.modules": {"m": {"settings": {"image": "i", "createOptions": {}}}}}}}}"#,
            true
        ),
        (
            #"{"content": {"modulesContent": {"$edgeAgent": {"properties.desired.modules.m.settings": {"image": "i", "createOptions": {}}}}}}"#,
            true
        ),
        (
            #"{"modulesContent": {"$edgeAgent": {"properties": {"desired": {"systemModules": {}, "modules": {"m": {"settings": {"image": "i", "createOptions": {}}}}}}}}}"#,
            false
        ),
    ]) func `A module is found however its path is spelt`(text: String, isLayered: Bool) throws {
        var template = try template(text)
        #expect(template.isLayered == isLayered)
        #expect(template.userModules == [.init(name: "m", image: "i")])
        template.setImages(["m": "new:1"])
        try template.convertCreateOptions()
        let result = template.manifestJSON.text()
        #expect(result.contains(#""image":"new:1""#) && result.contains(#""createOptions":"{}""#))
    }

    @Test(arguments: [
        ("[]", "object"), ("{}", "modulesContent"),
        (#"{"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": {}}}}}"#, "systemModules"),
        (#"{"modulesContent": {"$edgeAgent": {"properties.desired": {"systemModules": {}}}}}"#, "modules"),
        (#"{"content": {"modulesContent": {"$edgeAgent": {"properties.desired.modules.m": {}}}}}"#, "image"),
    ]) func `A missing part is named`(text: String, part: String) {
        #expect {
            _ = try template(text)
        } throws: { error in
            (error as? SolutionError)?.reason.contains(part) == true
        }
    }

    @Test func `A good manifest breaks no rule`() throws {
        var template = try template(whole(modules: module(#""image": "i", "createOptions": {}"#)))
        try template.convertCreateOptions()
        #expect(template.violations().isEmpty)
    }

    @Test(arguments: [
        (#""createOptions": {}"#, nil as String?, "image"), (#""image": "i", "other": 1"#, nil, "other"),
        (#""image": "i", "createOptions": """#, nil, "object"), (#""image": "i", "createOptions": "{"#, "\"", "JSON"),
    ]) func `What the schema forbids is found`(settings: String, end: String?, told: String) throws {
        var text = whole(modules: module(#""image": "i""#))
        text = text.replacing(#""settings": {"image": "i"}"#, with: #""settings": {\#(settings + (end ?? ""))}"#)
        guard text.contains("\"image\": \"i\"") else { return }
        var template = try template(text)
        try template.convertCreateOptions()
        #expect(template.violations().contains { $0.description.contains(told) })
    }

    @Test(arguments: [
        ("\"status\": \"running\"", "\"status\": \"up\"", "status"),
        ("\"restartPolicy\": \"always\"", "\"restartPolicy\": \"sometimes\"", "restartPolicy"),
        (
            "\"routes\": {}", "\"routes\": {\"r\": {\"route\": \"FROM /* INTO $upstream\", \"priority\": 10}}",
            "priority"
        ),
        ("\"routes\": {}", "\"routes\": {\"r\": \"\"}", "routes"),
        ("\"routes\": {}", "\"routes\": {\"a.b\": \"x\"}", "a.b"),
        ("\"settings\": {}", "\"settings\": {\"registryCredentials\": {\"r\": {\"username\": \"u\"}}}", "password"),
        (
            "\"type\": \"docker\", \"status\"", "\"type\": \"docker\", \"env\": {\"A\": {\"value\": null}}, \"status\"",
            "env"
        ),
        ("\"type\": \"docker\", \"status\"", "\"type\": \"docker\", \"startupOrder\": -1, \"status\"", "startupOrder"),
        (
            "\"type\": \"docker\", \"status\"", "\"type\": \"docker\", \"imagePullPolicy\": \"always\", \"status\"",
            "imagePull"
        ),
        ("\"$edgeHub\"", "\"a b\": {\"properties.desired\": {}}, \"$edgeHub\"", "a b"),
    ]) func `The schema is closed`(old: String, new: String, told: String) throws {
        let text = whole(modules: module(#""image": "i", "createOptions": {}"#)).replacing(
            old, with: new, maxReplacements: 1)
        var template = try template(text)
        try template.convertCreateOptions()
        #expect(template.violations().contains { $0.description.contains(told) }, "\(template.violations())")
    }

    @Test func `The manifest is ASCII, indented by two, and keeps the digits of numbers`() throws {
        let text = whole(modules: "").replacing(
            "\"routes\": {}", with: "\"routes\": {}, \"big\": 9007199254740993, \"ü\": []")
        let manifest = String(decoding: try template(text).manifest(), as: UTF8.self)
        #expect(manifest.hasPrefix("{\n  \"modulesContent\": {\n") && manifest.hasSuffix("}"))
        #expect(manifest.contains("\"big\": 9007199254740993,\n") && manifest.contains("\"\\u00fc\": []"))
        #expect(!manifest.contains("$schema-template"))
    }
}
