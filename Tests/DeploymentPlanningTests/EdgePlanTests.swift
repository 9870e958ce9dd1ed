import JSONDocument
import Model
import Testing

@testable import DeploymentPlanning

/// A configuration of the given content.
func configuration(
    _ id: String, priority: Int = 0, created: Int64 = 0, _ content: JSONValue
) throws -> RankedConfiguration {
    RankedConfiguration(
        id: id, priority: priority, created: Timestamp(seconds: created), content: try ConfigurationContent(content))
}

@Suite struct EdgePlanTests {
    private static let systemModules: [String: EdgePlan.PresentModule] = [
        "$edgeAgent": .init(managedBy: "iotEdge", desired: [:]), "$edgeHub": .init(managedBy: "iotEdge", desired: [:]),
    ]

    private func base(_ id: String, priority: Int = 0, created: Int64 = 0, modules: String...) throws
        -> RankedConfiguration
    {
        let list = JSONObject(modules.map { ($0, ["image": .string("\($0):\(id)")]) })
        return try configuration(
            id, priority: priority, created: created,
            [
                "modulesContent": [
                    "$edgeAgent": ["properties.desired": ["modules": .object(list)]],
                    "$edgeHub": ["properties.desired": ["routes": [:]]],
                ]
            ])
    }

    @Test func `The highest priority wins, and of equals the newest`() throws {
        let plan = EdgePlan(
            matching: [
                try base("old", priority: 5, created: 1, modules: "a"),
                try base("new", priority: 5, created: 2, modules: "b"),
                try base("low", priority: 1, created: 9, modules: "c"),
            ], present: Self.systemModules)
        #expect(plan.statuses["$edgeAgent"] == ["new": true, "old": false, "low": false])
        #expect(plan.identitiesToCreate == ["b"])
        #expect(plan.desired["$edgeAgent"]?["modules"]?["b"]?["image"] == "b:new")
    }

    @Test func `A layer adds a module, replaces another, and only above its base`() throws {
        let layer = try configuration(
            "layer", priority: 2,
            [
                "modulesContent": [
                    "$edgeAgent": [
                        "properties.desired.modules.b": ["image": "b:layer"],
                        "properties.desired.modules.a": ["image": "a:layer"],
                    ],
                    "$edgeHub": ["properties.desired.routes.up": "FROM /* INTO $upstream"],
                ]
            ])
        let equal = try configuration(
            "equal", priority: 1, ["modulesContent": ["$edgeAgent": ["properties.desired.modules.c": ["image": "c"]]]])
        let plan = EdgePlan(
            matching: [layer, equal, try base("base", priority: 1, modules: "a")], present: Self.systemModules)
        let modules = plan.desired["$edgeAgent"]?["modules"]
        #expect(modules?["a"]?["image"] == "a:layer" && modules?["b"]?["image"] == "b:layer" && modules?["c"] == nil)
        #expect(plan.desired["$edgeHub"]?["routes"]?["up"] == "FROM /* INTO $upstream")
        #expect(plan.statuses["$edgeAgent"] == ["layer": true, "base": true, "equal": false])
        #expect(plan.statuses["$edgeHub"] == ["layer": true, "base": true])
        #expect(plan.identitiesToCreate == ["a", "b"])
    }

    @Test func `A layer whose every path a higher one overwrites is only targeted`() throws {
        func layer(_ id: String, _ priority: Int) throws -> RankedConfiguration {
            try configuration(
                id, priority: priority,
                ["modulesContent": ["$edgeAgent": ["properties.desired.modules.x": ["image": .string(id)]]]])
        }
        let plan = EdgePlan(
            matching: [try layer("upper", 3), try layer("lower", 2), try base("base")], present: Self.systemModules)
        #expect(plan.statuses["$edgeAgent"] == ["upper": true, "lower": false, "base": true])
        #expect(plan.desired["$edgeAgent"]?["modules"]?["x"]?["image"] == "upper")
    }

    @Test func `A layer without agent settings is applied on its module's twin and targeted on the agent's`() throws {
        let layer = try configuration(
            "layer", priority: 2, ["modulesContent": ["$edgeAgent": [:], "a": ["properties.desired": ["k": 1]]]])
        let plan = EdgePlan(matching: [layer, try base("base", modules: "a")], present: Self.systemModules)
        #expect(plan.statuses["$edgeAgent"] == ["layer": false, "base": true])
        #expect(plan.statuses["a"] == ["layer": true])
        #expect(plan.desired["a"] == ["k": 1])
    }

    @Test func `Layers without a base, and no match at all, leave everything as it is`() throws {
        let layer = try configuration(
            "layer", priority: 2, ["modulesContent": ["$edgeAgent": ["properties.desired.modules.c": ["image": "c"]]]])
        var present = Self.systemModules
        present["a"] = .init(managedBy: "IotEdge", desired: ["k": 1])
        let alone = EdgePlan(matching: [layer], present: present)
        #expect(alone.desired.isEmpty && alone.identitiesToRemove.isEmpty && alone.identitiesToCreate.isEmpty)
        #expect(alone.statuses == ["$edgeAgent": ["layer": false]])
        let nothing = EdgePlan(matching: [], present: present)
        #expect(nothing.desired.isEmpty && nothing.statuses.isEmpty && nothing.identitiesToRemove.isEmpty)
    }

    @Test func `What is there already is not written again, and hand-made settings vanish`() throws {
        let base = try base("base", modules: "a")
        var present = Self.systemModules
        present["a"] = .init(managedBy: "IotEdge", desired: [:])
        let first = EdgePlan(matching: [base], present: present)
        for (module, desired) in first.desired {
            present[module] = .init(managedBy: present[module]?.managedBy ?? "", desired: desired)
        }
        #expect(EdgePlan(matching: [base], present: present).desired.isEmpty)
        present["$edgeHub"] = .init(managedBy: "iotEdge", desired: ["routes": [:], "byHand": 1])
        #expect(EdgePlan(matching: [base], present: present).desired["$edgeHub"] == ["routes": [:]])
    }

    @Test func `A deployment without modules removes what deployments brought and keeps what people made`() throws {
        var present = Self.systemModules
        present["deployed"] = .init(managedBy: "IotEdge", desired: [:])
        present["manual"] = .init(managedBy: "", desired: [:])
        let plan = EdgePlan(matching: [try base("empty")], present: present)
        #expect(plan.identitiesToRemove == ["deployed"])
        #expect(plan.identitiesToCreate.isEmpty)
    }

    @Test func `Content for one device replaces whole sections and sets paths`() throws {
        guard
            case .edge(let content) = try ConfigurationContent([
                "modulesContent": [
                    "$edgeAgent": ["properties.desired": ["modules": ["b": ["image": "b"]]]],
                    "a": ["properties.desired.deep.k": 2],
                ]
            ])
        else {
            Issue.record("no edge content")
            return
        }
        var present = Self.systemModules
        present["a"] = .init(managedBy: "", desired: ["deep": ["k": 1, "other": 1]])
        let plan = EdgePlan(applying: content, present: present)
        #expect(plan.desired["a"] == ["deep": ["k": 2, "other": 1]])
        #expect(plan.identitiesToCreate == ["b"])
        #expect(plan.statuses.isEmpty)
    }
}
