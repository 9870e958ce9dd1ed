import JSONDocument
import Testing

@testable import QueryLanguage

@Suite struct QueryTests {
    private let rows: [JSONValue] = [
        [
            "deviceId": "a", "status": "enabled", "statusReason": .null, "capabilities": ["iotEdge": true],
            "configurations": ["cfg": ["status": "Applied"]],
            "tags": ["n": 4, "s": "x", "f": true, "list": [1, "two"], "select": "odd", "1st": 1],
            "properties": ["reported": ["size": 10], "desired": ["$version": 3]],
        ],
        ["deviceId": "b", "status": "disabled", "tags": ["n": 2, "s": "y"], "properties": ["reported": ["size": 30]]],
        ["deviceId": "c", "status": "enabled", "tags": ["s": "x"], "properties": ["reported": ["size": "30"]]],
    ]

    private func ids(_ condition: String) throws -> String {
        let found = try Query(parsing: "select * from devices where \(condition)").evaluate(over: rows)
        return found.compactMap { $0["deviceId"]?.string }.joined()
    }

    @Test(arguments: [
        ("tags.n - 1 = 3", "a"), ("tags.n -1 = 3", "a"), ("-tags.n = -2", "b"), ("tags.n / 0 > 1", ""),
        ("tags.n % 0 = 0", ""),
        ("statusReason = null", "a"), ("IS_DEFINED(statusReason)", "a"), ("is_null(statusReason)", "a"),
        ("NOT tags.n = 4", "b"), ("not (tags.n = 4)", "b"), ("tags.n IN [4, 5]", "a"), ("tags.n in[4]", "a"),
        ("tags.n NOT IN [4]", "b"), ("tags.n nin [-4]", "ab"), ("tags.list[0] = 1", "a"), ("tags.list[9] = 1", ""),
        ("array_contains(tags.list, 'two')", "a"), ("tags.select = 'odd'", "a"), ("tags.1st = 1", "a"),
        ("devices.tags.s = 'y'", "b"), ("DEVICEID = 'a'", "a"), ("Capabilities.iotedge = true", "a"),
        ("Configurations.[[cfg]].Status = 'Applied'", "a"), ("Properties.Reported.size > 9", "ab"),
        ("properties.desired.$version = 3", "a"), ("tags.f", "a"), ("tags.f = true or tags.s = 'y'", "ab"),
        ("tags.S = 'x'", ""), ("startswith(deviceId, 'a') or ends_with(deviceId, 'c')", "ac"),
        ("length(tags.list) = 2", "a"),
        ("upper(tags.s) = 'Y'", "b"), ("is_number(properties.reported.size)", "ab"), ("tags.n > 'a'", ""),
        ("1 = 1", "abc"),
        ("deviceId = '\\u0061'", "a"), ("deviceId > 'a' /* not a */ and true", "bc"), ("tags = tags", ""),
        ("[[deviceId]] = 'a'", "a"),
    ]) func `Conditions`(text: String, expected: String) throws {
        #expect(try ids(text) == expected)
    }

    @Test(arguments: [
        "select * from devices where deviceId == 'a'", "select * from devices where a && b", "select", "select * from",
        "select * from devices where deviceId like 'a'", "select * from devices limit 3",
        "select *, deviceId from devices",
        "select deviceId, count() from devices", "select * from devices group by tags.s",
        "select median(tags.n) from devices",
        "select deviceId from devices group by tags.s", "select top x * from devices",
        "select * from devices where nosuch(a)",
        "select * from devices where is_defined()", "select * from devices where (a = 1",
        "select * from devices where a = 1)",
        "select * from devices where tags. = 1", "select * from devices where 12abc = 1",
        "select * from devices where a = 'b",
        "select * from devices where select = 1", "select * from devices where a in [b]",
        "select * from devices where a = b = c",
        "select * from devices.jobs where tags.x = 1", "select * from devices where tags.[[x = 1",
        "select avg() from devices",
        "select * from devices where 'a' || 'b' = 'ab'", "update devices", "select * from devices where a in ['b',",
    ]) func `What the language does not have is refused`(text: String) {
        #expect(throws: QueryError.self) { try Query(parsing: text) }
    }

    @Test func `A refusal names line and column`() {
        #expect {
            try Query(parsing: "SELECT *\nFROM devices\nWHERE tags.é = 'ü' ORDER BY x")
        } throws: { error in
            let error = error as? QueryError
            return error?.line == 3 && error?.column == 20
        }
    }

    @Test func `Groups are counted, and what is missing forms a group without a key`() throws {
        let query = try Query(
            parsing: "select tags.n, count() as c, sum(properties.reported.size) from devices group by tags.n")
        #expect(
            query.evaluate(over: rows) == [
                ["n": 4, "c": 1, "$1": 10], ["n": 2, "c": 1, "$1": 30], ["c": 1, "$1": 0],
            ])
        let distinct = try Query(parsing: "select tags.s from devices group by tags.s")
        #expect(distinct.evaluate(over: rows) == [["s": "x"], ["s": "y"]])
        let empty = try Query(parsing: "select avg(tags.n) as a, count(tags.n) as c from devices where false")
        #expect(empty.evaluate(over: rows) == [["c": 0]])
    }

    @Test func `Sources, TOP and kinds of items`() throws {
        #expect(try Query(parsing: "select *").source == .devices)
        #expect(try Query(parsing: "select * from Devices.Modules").source == .modules)
        #expect(try Query(parsing: "select * from devices.jobs where devices.jobs.status = 'x'").itemType == .deviceJob)
        #expect(
            try Query(parsing: "select top 2 deviceId from devices").evaluate(over: rows) == [
                ["deviceId": "a"], ["deviceId": "b"],
            ])
        #expect(try Query(parsing: "select top 0 * from devices").evaluate(over: rows).isEmpty)
    }

    @Test func `Hostile queries are refused, not followed`() {
        for text in [
            "select * from devices where " + String(repeating: "(", count: 8000),
            "select * from devices where " + String(repeating: "not ", count: 2000) + "a",
            "select * from devices where a = 1" + String(repeating: "+1", count: 4000),
            "select * from devices where " + String(repeating: "upper(", count: 1300) + "a",
            "select " + String(repeating: "[[", count: 4000), String(repeating: "/*", count: 4000),
        ] {
            #expect(throws: QueryError.self) { try Query(parsing: text) }
        }
    }
}
