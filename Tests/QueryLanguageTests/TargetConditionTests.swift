import JSONDocument
import Testing

@testable import QueryLanguage

@Suite struct TargetConditionTests {
    @Test func `A condition tells what it depends on`() throws {
        let condition = try TargetCondition(
            parsing: "tags.env = 'prod' and (properties.reported.os.version > '2' or is_defined(tags.x.y))",
            scope: .device)
        #expect(condition.depends(on: QueryPath("tags")))
        #expect(condition.depends(on: QueryPath("tags", "x", "y", "z")))
        #expect(condition.depends(on: QueryPath("properties", "reported", "os")))
        #expect(!condition.depends(on: QueryPath("tags", "envy")))
        #expect(!condition.depends(on: QueryPath("properties", "reported", "temperature")))
        #expect(!condition.depends(on: QueryPath("capabilities", "iotEdge")))
        #expect(try TargetCondition(parsing: "*", scope: .edge).depends(on: QueryPath("capabilities")))
    }

    @Test func `Equalities that hold for every target can be looked up`() throws {
        let condition = try TargetCondition(
            parsing: "'x' = deviceId and tags.a.b = 5 and (tags.c = 'd' or tags.e = 'f') and not tags.g = 'h'",
            scope: .device)
        #expect(
            condition.equalities == [
                .init(path: QueryPath("deviceId"), value: "x"), .init(path: QueryPath("tags", "a", "b"), value: 5),
            ])
        #expect(try TargetCondition(parsing: "tags.a='1' or tags.b='2'", scope: .device).equalities.isEmpty)
    }

    @Test(arguments: [
        ("*", TargetCondition.Scope.device, ""), ("*", .edge, "capabilities.iotEdge = true"),
        (" tags.a='b' ", .device, "tags.a='b'"),
        ("tags.a='b' or tags.c='d'", .edge, "capabilities.iotEdge = true and (tags.a='b' or tags.c='d')"),
        ("from devices.modules where tags.a='b'", .module, "tags.a='b'"), ("", .edge, "-"), ("  ", .device, "-"),
    ]) func `A condition gives the WHERE part of its metric query`(
        text: String, scope: TargetCondition.Scope, expected: String
    ) throws {
        #expect(try TargetCondition(parsing: text, scope: scope).queryCondition ?? "-" == expected)
    }

    @Test(arguments: [
        ("tags.a = \"b\"", TargetCondition.Scope.device), ("properties.desired.x = 1", .device),
        ("moduleId = 'm'", .device),
        ("* and tags.a = 1", .device), ("where tags.a = 1", .device), ("from devices where tags.a = 1", .module),
        ("from devices.modules where", .module), ("", .module), ("tags.a = 1", .module),
        ("capabilities.iotEdge = true", .edge),
        ("tags.a =", .edge), ("configurations.[[x]].status = 'Applied'", .device), ("properties = 1", .device),
        ("tags.a = 1 and nosuch(tags.b)", .device),
    ]) func `What a target condition may not hold is refused`(text: String, scope: TargetCondition.Scope) {
        #expect(throws: QueryError.self) { try TargetCondition(parsing: text, scope: scope) }
    }

    @Test func `The refusal of a path names it as the service does`() {
        #expect {
            try TargetCondition(parsing: "tags.a = 1 and status = 'enabled'", scope: .device)
        } throws: { error in
            let error = error as? QueryError
            return error?.reason.hasSuffix("It contains: status") == true && error?.column == 16
        }
    }

    @Test func `Module conditions see the id of the module`() throws {
        let condition = try TargetCondition(parsing: "from devices.modules where moduleId = 'm'", scope: .module)
        #expect(condition.selects(["deviceId": "d", "moduleId": "m"] as JSONValue))
    }
}
