import JSONDocument
import SolutionTemplate
import Testing

/// Members of a deployment whose names are paths, as the former tool takes them.
@Suite struct DottedNamesTests {
    private static let module = #"{"settings": {"image": "${MODULES.m}", "createOptions": {}}}"#

    private func manifest(ofContent content: String) throws -> JSONValue {
        let text = #"{"content": {"modulesContent": \#(content)}}"#
        var template = try DeploymentTemplate(ExpandedText(Array(text.utf8), variables: [:]), file: "l.json")
        template.setImages(Dictionary(uniqueKeysWithValues: template.userModules.map { ($0.name, "new:1") }))
        try template.convertCreateOptions()
        return try #require(template.manifestJSON["content"]?["modulesContent"])
    }

    private static let made: JSONValue = ["settings": ["image": "new:1", "createOptions": "{}"]]

    @Test(arguments: [
        "$edgeAgent.properties.desired", "$edgeAgent.properties.desired.modules", "$edgeAgent.properties",
    ])
    func `The path may begin with the agent`(key: String) throws {
        let inner =
            [
                "$edgeAgent.properties": #"{"desired": {"modules": {"m": \#(Self.module)}}}"#,
                "$edgeAgent.properties.desired": #"{"modules": {"m": \#(Self.module)}}"#,
            ][key]
            ?? #"{"m": \#(Self.module)}"#
        let result = try manifest(ofContent: #"{"\#(key)": \#(inner)}"#)
        #expect(result.text().contains(#""image":"new:1""#) && !result.text().contains("MODULES"))
    }

    @Test func `What a path adds to an object that stands before it is in both`() throws {
        let result = try manifest(
            ofContent: """
                {"$edgeAgent": {"properties.desired": {"modules": {"m": \(Self.module)}},
                                "properties.desired.modules.n": \(Self.module)},
                 "$edgeHub": {"properties.desired": {"routes": {}}, "properties.desired.routes.r": "FROM /* INTO $upstream"}}
                """)
        #expect(result["$edgeAgent"]?["properties.desired"]?["modules"] == ["m": Self.made, "n": Self.made])
        #expect(result["$edgeAgent"]?["properties.desired.modules.n"] == Self.made)
        #expect(result["$edgeHub"]?["properties.desired"]?["routes"]?["r"] == "FROM /* INTO $upstream")
    }

    @Test func `An object behind a path leaves the path alone, and both are resolved`() throws {
        let result = try manifest(
            ofContent: """
                {"$edgeAgent": {"properties.desired.modules.n": \(Self.module),
                                "properties.desired": {"modules": {"m": \(Self.module)}}}}
                """)
        #expect(result["$edgeAgent"]?["properties.desired"]?["modules"] == ["m": Self.made])
        #expect(result["$edgeAgent"]?["properties.desired.modules.n"] == Self.made)
    }

    @Test func `A member content makes a layer, wherever the modules stand`() throws {
        let text = #"{"content": {}, "modulesContent": {"$edgeAgent": {"properties.desired": {}}, "x y": 1.5}}"#
        #expect(throws: SolutionError.self) {
            try DeploymentTemplate(ExpandedText(Array(text.utf8), variables: [:]), file: "l.json")
        }
        let layer = text.replacing(#", "x y": 1.5"#, with: "")
        let template = try DeploymentTemplate(ExpandedText(Array(layer.utf8), variables: [:]), file: "l.json")
        #expect(template.isLayered && template.violations().isEmpty)
    }
}
