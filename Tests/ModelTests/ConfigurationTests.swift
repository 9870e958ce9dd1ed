import JSONDocument
import Testing

@testable import Model

@Suite struct ConfigurationTests {
    private let now = Timestamp(seconds: 1_800_000_000)
    private static let content: JSONValue = [
        "modulesContent": ["$edgeAgent": ["properties.desired": ["k": "8883/tcp "]]]
    ]

    @Test func `What was created is written with the members that clients read by name`() throws {
        let configuration = try Configuration(
            id: "fw", creating: ["id": "fw", "content": Self.content, "etag": "*", "priority": 3], now: now)
        let json = configuration.json(systemResults: [:], systemQueries: [:], metricResults: [:])
        #expect(json["etag"] == "MQ==" && json["labels"] == .null && json["schemaVersion"] == "1.0")
        #expect(json["content"] == Self.content)
        #expect(json.at(["metrics", "queries"]) == [:])
        #expect(json["createdTimeUtc"] == "2027-01-15T08:00:00.000Z")
    }

    @Test func `An update changes condition and priority, never the content`() throws {
        var configuration = try Configuration(id: "fw", creating: ["content": Self.content], now: now)
        try configuration.update(
            with: [
                "content": ["modulesContent": ["$edgeAgent": [:]]], "priority": 7, "targetCondition": "*",
                "labels": ["a": "b"],
            ], now: Timestamp(seconds: 1_800_000_001))
        #expect(configuration.priority == 7 && configuration.targetCondition == "*" && configuration.etag == "Mg==")
        #expect(configuration.document == Self.content)
        let stored = try Configuration(
            id: "fw", stored: configuration.storedDocument, created: configuration.created,
            updated: configuration.updated, revision: configuration.revision)
        #expect(stored == configuration)
    }

    @Test(
        arguments: [
            ("UPPER", ["content": content]), ("a b", ["content": content]),
            ("a", ["content": content, "priority": -1]), ("a", ["content": content, "labels": ["k": 1]]),
        ] as [(String, JSONValue)]) func `What is not allowed is an invalid argument`(id: String, body: JSONValue)
    {
        #expect {
            try Configuration(id: id, creating: body, now: now)
        } throws: { error in
            (error as? HubError)?.code == .argumentInvalid
        }
    }

    @Test(
        arguments: [
            .null, [:], ["modulesContent": [:]], ["modulesContent": ["$edgeAgent": ["desired": [:]]]],
            ["deviceContent": ["properties.reported.a": 1]], ["deviceContent": ["properties.desired": 1]],
            ["deviceContent": [:], "modulesContent": ["$edgeAgent": [:]]],
            ["deviceContent": ["properties.desired..a": 1]],
        ] as [JSONValue]) func `A content that cannot be is named so`(content: JSONValue)
    {
        #expect {
            try Configuration(id: "a", creating: ["content": content], now: now)
        } throws: { error in
            (error as? HubError)?.code == .invalidConfigurationContent
        }
    }

    @Test func `A layer is known by what its agent lacks`() throws {
        #expect(try !ConfigurationContent(Self.content).isLayered)
        #expect(try ConfigurationContent(["modulesContent": ["$edgeAgent": [:]]]).isLayered)
        #expect(
            try ConfigurationContent(["modulesContent": ["$edgeAgent": ["properties.desired.modules.a": [:]]]])
                .isLayered)
    }
}
