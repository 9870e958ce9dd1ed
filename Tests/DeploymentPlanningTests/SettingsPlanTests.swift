import JSONDocument
import Model
import Testing

@testable import DeploymentPlanning

@Suite struct SettingsPlanTests {
    private func settings(_ id: String, priority: Int, _ content: JSONValue) throws -> RankedConfiguration {
        try configuration(id, priority: priority, ["deviceContent": content])
    }

    @Test func `Of two on the same path the higher applies, and the lower comes back when it goes`() throws {
        let low = try settings("low", priority: 1, ["properties.desired.chiller": ["temperature": 66, "mode": "eco"]])
        let high = try settings("high", priority: 2, ["properties.desired.chiller": ["temperature": 50]])
        let both = SettingsPlan(matching: [high, low], written: WrittenSettings(), present: ["own": 1])
        #expect(both.desired == ["own": 1, "chiller": ["temperature": 50]])
        #expect(both.statuses == ["high": true, "low": false])
        let lowOnly = SettingsPlan(matching: [low], written: both.written, present: both.desired ?? [:])
        #expect(lowOnly.desired == ["own": 1, "chiller": ["temperature": 66, "mode": "eco"]])
        let none = SettingsPlan(matching: [], written: lowOnly.written, present: lowOnly.desired ?? [:])
        #expect(none.desired == ["own": 1])
        #expect(none.statuses.isEmpty && none.written.isEmpty)
    }

    @Test func `Paths that do not overlap merge, and a lower one that keeps a part is applied`() throws {
        let low = try settings(
            "low", priority: 1, ["properties.desired.a": ["x": 1, "y": 1], "properties.desired.b": 1])
        let high = try settings("high", priority: 2, ["properties.desired.a.x": 2])
        let plan = SettingsPlan(matching: [low, high], written: WrittenSettings(), present: [:])
        #expect(plan.desired == ["a": ["x": 2, "y": 1], "b": 1])
        #expect(plan.statuses == ["low": true, "high": true])
    }

    @Test func `What somebody changed by hand stays until the match changes`() throws {
        let only = try settings("only", priority: 1, ["properties.desired.a": 1])
        let first = SettingsPlan(matching: [only], written: WrittenSettings(), present: [:])
        let again = SettingsPlan(matching: [only], written: first.written, present: ["a": 7])
        #expect(again.desired == nil)
        let other = try settings("other", priority: 0, ["properties.desired.b": 1])
        let changed = SettingsPlan(matching: [only, other], written: first.written, present: ["a": 7])
        #expect(changed.desired == ["a": 1, "b": 1])
    }

    @Test func `What was written survives a round trip through the store`() throws {
        let only = try settings("only", priority: 1, ["properties.desired.a.b": ["c": 1]])
        let plan = SettingsPlan(matching: [only], written: WrittenSettings(), present: [:])
        #expect(WrittenSettings(plan.written.json) == plan.written)
        #expect(plan.written.json == [["id": "only", "leaves": [["a", "b", "c"]]]])
    }

    @Test func `Null removes and is never stored`() throws {
        let only = try settings(
            "only", priority: 1, ["properties.desired.a": .null, "properties.desired.b": ["c": .null]])
        let plan = SettingsPlan(matching: [only], written: WrittenSettings(), present: ["a": 1])
        #expect(plan.desired == ["b": [:]])
    }
}
