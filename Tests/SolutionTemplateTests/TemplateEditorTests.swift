import JSONDocument
import SolutionTemplate
import Testing

@Suite struct TemplateEditorTests {
    @Test func `A module is added and every variable stays a variable`() throws {
        let source = """
            {"modulesContent": {
              "$edgeAgent": {"properties.desired": {"runtime": {"password": "${PASSWORD}"}, "ttl": $TTL, "o": ${OPTIONS},
                "modules": {}}},
              "$edgeHub": {"properties.desired": {"routes": {}}}}}
            """
        var editor = try TemplateEditor(Array(source.utf8), file: "t.json")
        try editor.addModule("probe", image: "${MODULES.probe}", createOptions: [:])
        let text = editor.text
        #expect(text.contains("\"password\": \"${PASSWORD}\""))
        #expect(text.contains("\"ttl\": $TTL,") && text.contains("\"o\": ${OPTIONS},"))
        #expect(text.contains("\"probeToIoTHub\": \"FROM /messages/modules/probe/outputs/* INTO $upstream\""))
        let expanded = ExpandedText(Array(text.utf8), variables: ["TTL": "1", "OPTIONS": "{}"])
        let module = try expanded.json(file: "t.json").at([
            "modulesContent", "$edgeAgent", "properties.desired", "modules", "probe", "settings", "image",
        ])
        #expect(module == "${MODULES.probe}")
    }

    @Test func `A layer gets paths`() throws {
        let source = #"{"content": {"modulesContent": {"$edgeAgent": {}, "$edgeHub": {}}}}"#
        var editor = try TemplateEditor(Array(source.utf8), file: "t.json")
        try editor.addModule("probe", image: "i", createOptions: [:])
        #expect(editor.text.contains("\"properties.desired.modules.probe\": {"))
        #expect(editor.text.contains("\"properties.desired.routes.probeToIoTHub\": \""))
    }

    @Test func `A template without the place for a module is refused`() throws {
        var editor = try TemplateEditor(Array("{}".utf8), file: "t.json")
        #expect(throws: SolutionError.self) { try editor.addModule("p", image: "i", createOptions: [:]) }
    }
}
