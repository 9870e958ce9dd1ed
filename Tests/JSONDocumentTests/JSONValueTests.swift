import Testing

@testable import JSONDocument

@Suite struct JSONValueTests {
    @Test func `A document keeps the order of its members and the digits of its numbers`() throws {
        let text = #"{"z":9007199254740993,"a":[1.50,-0,1e3],"m":{"k":null,"t":true}}"#
        #expect(try JSONValue(parsing: text).text() == text)
    }

    @Test func `Numbers are equal by value and objects whatever the order of their members`() throws {
        #expect(try JSONValue(parsing: "1.0") == JSONValue(parsing: "1"))
        #expect(try JSONValue(parsing: #"{"a":1,"b":2}"#) == JSONValue(parsing: #"{"b":2,"a":1}"#))
    }

    @Test func `Escapes are read and written, pairs of surrogates included`() throws {
        let value = try JSONValue(parsing: #""a\n\t\"\\\/é😀 A""#)
        #expect(value == .string("a\n\t\"\\/é😀 A"))
        #expect(JSONValue.string("é😀\u{1}").text(JSONWritingOptions(asciiOnly: true)) == #""\u00e9\ud83d\ude00\u0001""#)
    }

    @Test(arguments: [
        ("{\n  \"a\": 1,\n  \"b\" 2\n}", 3, 7),
        ("[1, 2,]", 1, 7),
        ("", 1, 1),
        ("{\"a\": \"x}", 1, 7),
        ("01", 1, 2),
        ("[1] x", 1, 5),
        ("{\"a\":\"\u{1}\"}", 1, 7),
        ("nul", 1, 1),
    ]) func `A malformed text is refused with line and column`(text: String, line: Int, column: Int) {
        #expect {
            try JSONValue(parsing: text)
        } throws: { error in
            let error = error as? JSONSyntaxError
            return error?.line == line && error?.column == column
        }
    }

    @Test func `Depth is bounded`() {
        let deep = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
        #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: deep) }
    }

    @Test func `Comments are passed over only where they are allowed`() throws {
        let text = "{ // one\n \"a\": /* two */ 1 }"
        #expect(try JSONValue(parsing: text, options: JSONReadingOptions(allowsComments: true)) == ["a": 1])
        #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: text) }
    }

    @Test func `Large objects find, replace and remove members`() {
        var object = JSONObject((0..<40).map { ("k\($0)", JSONValue($0)) })
        object["k7"] = nil
        object["k8"] = "eight"
        #expect(object.count == 39)
        #expect(object["k7"] == nil)
        #expect(object["k8"] == "eight")
        #expect(object["k39"] == 39)
        #expect(object.keys.first == "k0")
    }

    @Test func `A merge patch adds, replaces and removes, and can be found from two documents`() {
        let old: JSONValue = ["a": 1, "b": ["c": 2, "d": 3], "e": [1, 2]]
        let new: JSONValue = ["a": 1, "b": ["c": 5], "f": "x"]
        let patch = old.mergePatch(to: new)
        #expect(patch == ["b": ["c": 5, "d": .null], "e": .null, "f": "x"])
        #expect(patch.map { old.merged(with: $0) } == new)
        #expect(old.mergePatch(to: old) == nil)
    }

    @Test func `Any bytes are read or refused, never more`() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array("{}[]\",:0123456789eE+-.truefalsn\\u/* \n\u{e9}".utf8)
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0..<40, using: &generator)).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
            }
            if let value = try? JSONValue(parsing: bytes) {
                #expect(throws: Never.self) { try JSONValue(parsing: value.bytes()) }
            }
        }
    }
}
