import JSONDocument
import Testing

@testable import QueryLanguage

@Suite struct EdgeConditionTests {
    private let message = RoutableMessage(
        properties: [("kind", "alert"), ("three", "3"), ("bare", nil), ("$mark", "own"), ("$body.n", "property")],
        systemProperties: [
            ("mark", "system"), ("contentType", "Application/JSON"), ("contentEncoding", "UTF-8"), ("void", nil),
        ],
        body: Array(
            #"""
            {"n":5,"zero":0,"t":"é","flag":true,"no":null,"big":{"k":1},"rows":[[1,2],{"v":9}],
             "at":"2024-02-29T23:59:59.5+02:00","noDate":"2023-02-29T00:00:00Z","text":"12"}
            """#.utf8))

    private func value(_ text: String, source: String = "/messages/*") throws -> String {
        try RouteCondition(parsing: text, dialect: .edge(source: source)).evaluate(message).rawValue
    }

    @Test(arguments: [
        ("null", "false"), ("not null", "true"), ("null and true", "false"), ("(null and false) = null", "true"),
        ("null or true", "true"), ("null or false", "false"), ("(null or null) = null", "true"),
        ("undefined or true", "true"), ("undefined and undefined", "undefined"), ("undefined = undefined", "undefined"),
        ("undefined ?? undefined", "undefined"), ("false < true", "true"),
    ]) func `Constants follow three-valued logic`(text: String, expected: String) throws {
        #expect(try value(text) == expected)
    }

    @Test(arguments: [
        ("(3 % 0 ?? 12.5) = 12.5", "true"), ("3 / 0 = 1 / 0", "true"), ("is_defined(3 % 0)", "false"),
        ("is_number(3 / 0)", "false"), ("is_null(3 / 0)", "false"), ("exp(4000) = 3/0", "true"),
        ("sqrt(-4) = 2", "undefined"), ("sign(-3 / 0) = -1", "true"), ("10e1000 = 1/0", "true"),
        ("is_defined(e5)", "false"), ("0xffFFffFFffFFffFF = -1", "true"), (".5 + .5 = 1", "true"),
        ("as_number('10e10') = 10e10", "true"), ("as_number(' 1,000.5 ') = 1000.5", "true"),
        ("as_number('(4)') = -4", "true"), ("as_number('7-') = -7", "true"), ("as_number('') = 0", "undefined"),
        ("as_number('x') = 0", "undefined"), ("as_number('1x') = 1", "undefined"), ("as_number('.5') = .5", "true"),
        ("as_number('Infinity') = 1/0", "true"), ("as_number(as_number(4)) = 4", "true"),
        ("is_defined(-undefined)", "false"),
    ]) func `Numbers follow IEEE, and what is no number is undefined`(text: String, expected: String) throws {
        #expect(try value(text) == expected)
    }

    @Test(arguments: [
        ("is_defined(bare)", "true"), ("is_null(bare)", "true"), ("is_string(bare)", "false"), ("bare = ''", "false"),
        ("bare < ''", "true"), ("bare = bare", "true"), ("length(bare) = 0", "undefined"),
        ("'a' || bare = 'a'", "true"),
        ("as_number(bare) = 0", "undefined"), ("starts_with(bare, '')", "undefined"), ("is_null(none)", "false"),
        ("is_defined($void)", "true"), ("is_defined(concat('a', none))", "false"), ("BARE != 'x'", "true"),
        ("$mark = 'own'", "true"), ("{$mark} = 'system'", "true"), ("{ $MARK } = 'system'", "true"),
    ]) func `A property may be present without a value`(text: String, expected: String) throws {
        #expect(try value(text) == expected)
    }

    @Test(arguments: [
        ("substring('abc', 3) = ''", "true"), ("substring('abc', 4) = ''", "undefined"),
        ("substring('abc', 3, 0) = ''", "undefined"), ("substring('abc', 1.9, 1) = 'b'", "true"),
        ("substring('abc', -1) = ''", "undefined"), ("substring('abc', 0, 4) = 'abc'", "undefined"),
        ("index_of('😀x', 'x') = 2", "true"), ("length('😀') = 2", "true"), ("index_of('abc', '') = 0", "true"),
        ("contains('abc', '')", "true"), ("ends_with('abc', 'abcd')", "false"), ("upper('é') = 'É'", "true"),
        ("'e\\u0301' = 'é'", "false"), ("'it''s' = \"it's\"", "true"), ("'\\u0041\\\\' = 'A\\\\'", "true"),
        ("'\u{FF21}' > '😀'", "true"), ("concat('a', kind, 'b') = 'aalertb'", "true"),
    ]) func `Texts are counted and ordered in UTF-16 units and compared ordinally`(text: String, expected: String)
        throws
    {
        #expect(try value(text) == expected)
    }

    @Test(arguments: [
        ("$body.zero / 0 < -1/0", "true"), ("is_defined($body.zero / 0)", "true"),
        ("is_number($body.zero / 0)", "false"),
        ("$body.no = null", "true"), ("is_null($body.no)", "true"), ("is_null($body.none)", "false"),
        ("is_null($body.flag)", "true"), ("is_null($body.big)", "undefined"), ("is_defined($body.big)", "false"),
        ("is_null($body.n)", "true"), ("$body.n = 'property'", "true"), ("{$body.n} = 5", "true"),
        ("{$body.n} < 'a'", "true"), ("{$body.n} > true", "true"), ("$body.none > 'z'", "true"),
        ("$body.none AND false", "undefined"), ("$body.flag AND kind", "undefined"),
        ("$body.flag OR undefined", "undefined"),
        ("$body.flag AND true AND kind = 'alert'", "true"), ("NOT $body.none", "undefined"),
        ("is_bool($body.flag)", "true"), ("is_bool($body.big)", "undefined"), ("is_bool($body.text)", "false"),
        ("is_string($body.at)", "false"), ("$body.noDate = '2023-02-29T00:00:00Z'", "true"),
        ("$body.rows[0][1] = 2", "true"), ("$body.rows[1].v = 9", "true"), ("$body.rows[7].v = null", "true"),
        ("$body.t = 'é'", "true"), ("($body.none ?? 3) = null", "true"), ("($body.big ?? 3) = 3", "true"),
        ("$body[0]", "undefined"), ("is_defined($body[0])", "false"), ("abs({$body.n} - 7) = 2", "true"),
        ("as_number($body.text) + {$body.n} = 17", "true"), ("is_number({$body.n})", "true"), ("$body", "undefined"),
    ]) func `Body values are decided by each message`(text: String, expected: String) throws {
        #expect(try value(text) == expected)
    }

    @Test(arguments: [
        ("level > 5", 1, 7), ("3 + '4' = 7", 1, 3), ("as_number(true) = true", 1, 1), ("true and nope(true)", 1, 10),
        ("(2 + 22 = 24", 1, 1), ("as_number(\"2\" = 24", 1, 19), ("(2 + 22 )) = 24", 1, 10), ("\"2 = 24", 1, 1),
        ("3 = @ 3", 1, 5), ("kind = 'a'\n  and and", 2, 7), ("kind == 'a'", 1, 6), ("kind =", 1, 7),
        ("kind = 'a' && true", 1, 12), ("'a\\n' = 'b'", 1, 3), ("from = 'x'", 1, 1), ("", 1, 1),
        ("$body.a[] = 1", 1, 1),
        ("not kind = 'x'", 1, 1), ("kind ?? 'x' = 'x'", 1, 6), ("true or kind", 1, 6),
    ]) func `A refusal names line and column`(text: String, line: Int, column: Int) {
        #expect {
            try RouteCondition(parsing: text, dialect: .edge(source: "/*"))
        } throws: { error in
            let error = error as? QueryError
            return error?.line == line && error?.column == column
        }
    }

    @Test(arguments: [
        "$body.a..b = 1", "$body.a['x'] = 1", "$body.a. = 1", "$body. = 1", "$body.a[x] = 1", "$body.1 = 1",
        "$body.a[0]b = 1",
        "- kind", "-$body.n = 1", "$body.n % 2 = 1", "undefined + 1 = 2", "null + 1 = 2", "kind = undefined",
        "kind ?? null",
        "12.34 ?? kind", "concat('a')", "concat('a', true)", "length(3)", "substring('a')", "power(2, 'x')",
        "abs(3, 4)",
        "not undefined", "not 3", "kind[0] = 'x'", "$body.flag AND null", "kind = 'a' AND $body.flag", "2 3",
        "true == kind",
        "kind = \"", "is_array(kind)", "null and undefined", "(", ")", "kind = (", "length(kind", "$body.n = undefined",
        "is_defined()", "{kind} = 'x'", "twin_change_includes(properties.reported.x)", "kind != != 'x'",
    ]) func `A condition of wrong types or syntax is refused`(text: String) {
        #expect(throws: QueryError.self) { try RouteCondition(parsing: text, dialect: .edge(source: "/messages/*")) }
    }

    @Test func `Changes of twins can be searched in routes from the twin changes`() throws {
        let change = RoutableMessage(
            properties: [],
            systemProperties: [("contentType", "application/json"), ("contentEncoding", "utf-8")],
            body: Array(#"{"properties":{"reported":{"a":{"b":null}}}}"#.utf8))
        func value(_ text: String) throws -> Truth {
            try RouteCondition(parsing: text, dialect: .edge(source: "/twinChangeNotifications")).evaluate(change)
        }
        #expect(try value("Twin_Change_Includes(properties.reported.a)") == .true)
        #expect(try value("twin_change_includes(properties.reported.a.b)") == .true)
        #expect(try value("twin_change_includes(properties.reported.c) = false") == .true)
        for argument in [
            "", " ", "properties.", "123", "properties.other", "tags.a[0]", "properties.reported.a, b", "'tags.a'",
        ] {
            #expect(throws: QueryError.self, Comment(rawValue: argument)) {
                try value("twin_change_includes(\(argument))")
            }
        }
        let route = try EdgeRoute(
            parsing: "FROM /twinChangeNotifications/* WHERE twin_change_includes(tags.x) INTO $upstream")
        #expect(route.evaluate(change, from: "/twinChangeNotifications") == .false)
    }

    @Test func `Hostile texts are refused, not followed`() {
        let nested = String(repeating: "(", count: 30_000)
        let nots = String(repeating: "not ", count: 15_000) + "true"
        let sums = "1" + String(repeating: " + 1", count: 15_000) + " = 2"
        let comments = String(repeating: "/*", count: 32_000)
        let path = "$body.a" + String(repeating: "[0]", count: 20_000) + "]"
        let long = String(repeating: "x", count: 70_000)
        for text in [nested, nots, sums, comments, path, long] {
            #expect(throws: QueryError.self) { try RouteCondition(parsing: text, dialect: .edge(source: "/*")) }
        }
    }

    @Test func `Long chains of AND and OR are fine`() throws {
        let chain = String(repeating: "kind = 'alert' and ", count: 2000) + "true"
        #expect(try value(chain) == "true")
    }

    @Test func `The hub reads the same conditions by its own rules`() throws {
        let message = RoutableMessage(
            properties: [("flag", "true")], systemProperties: [("contentType", "application/json; charset=utf-8")],
            twin: ["tags": ["site": "m"], "properties": ["reported": ["list": [1, 2]]]],
            body: Array(#"{"n":5,"o":{}}"#.utf8))
        func value(_ text: String) throws -> Truth {
            try RouteCondition(parsing: text, dialect: .hub).evaluate(message)
        }
        #expect(try value("$body.n = 5 AND $twin.tags.site = 'm'") == .true)
        #expect(try value("flag = true") == .undefined)
        #expect(try value("{flag} = 'true' AND NOT flag = 'x'") == .true)
        #expect(try value("$body.none = null") == .undefined)
        #expect(try value("is_object($body.o) and is_array($twin.properties.reported.list)") == .true)
        #expect(try value("$twin.properties.reported.list[1] = 2") == .true)
        #expect(throws: QueryError.self) { try value("STARTSWITH(flag, 't')") }
    }
}
