import JSONDocument
import SolutionTemplate
import Testing

@Suite struct ExpandedTextTests {
    private func expand(_ text: String, _ variables: [String: String]) -> String {
        String(decoding: ExpandedText(Array(text.utf8), variables: variables).bytes, as: UTF8.self)
    }

    @Test(arguments: [
        ("${TAG}", "v7"), ("$TAG", "v7"), ("$TAG.x", "v7.x"), ("${TAG}suffix", "v7suffix"),
        ("$TAGsuffix", "$TAGsuffix"),
        ("${MISSING}", "${MISSING}"), ("$MISSING", "$MISSING"), ("[${EMPTY}]", "[]"), ("${NESTED}", "${TAG}"),
        ("${TAG:-dflt}", "${TAG:-dflt}"), ("$$TAG", "$v7"), ("$(TAG)", "$(TAG)"), ("${ TAG }", "${ TAG }"),
        ("price $5", "price $5"), ("${MODULES.x}", "own"), ("${MODULES.${TAG}}", "${MODULES.${TAG}}"), ("$", "$"),
        ("${TAG", "${TAG"), ("${}", "${}"), ("$TAGé", "v7é"),
    ]) func `A variable is replaced once, in either spelling, or stays`(text: String, result: String) {
        let variables = ["TAG": "v7", "EMPTY": "", "NESTED": "${TAG}", "MODULES.x": "own"]
        #expect(expand(text, variables) == result)
    }

    @Test func `Unset variables in braces are told with their places, image placeholders are not`() {
        let text = ExpandedText(
            Array("{\n \"ä\": \"${A} ${MODULES.m} $upstream\",\n \"${MODULEDIR<x>.debug}\": \"${B}\" }".utf8),
            variables: [:])
        #expect(text.unresolved.map(\.name) == ["A", "B"])
        #expect(text.unresolved.map(\.place) == [SourcePlace(line: 2, column: 8), SourcePlace(line: 3, column: 28)])
    }

    @Test func `A fault behind a long value is placed where it stands in the file`() {
        let text = ExpandedText(
            Array("{ \"a\": \"${LONG}\", \"b\": }\n".utf8),
            variables: ["LONG": "x\\ny " + String(repeating: "z", count: 90)])
        #expect {
            _ = try text.json(file: "t.json")
        } throws: { error in
            (error as? SolutionError)?.place == SourcePlace(line: 1, column: 24)
        }
    }

    @Test func `A fault inside a value names the variable`() {
        let text = ExpandedText(Array("{\n\"a\": \"${PASSWORD}\" }".utf8), variables: ["PASSWORD": "se\"cret"])
        #expect {
            _ = try text.json(file: "t.json")
        } throws: { error in
            guard let error = error as? SolutionError else { return false }
            return error.reason.contains("PASSWORD") && error.place == SourcePlace(line: 2, column: 7)
                && error.description.hasPrefix("t.json:2:7: ") && !error.reason.contains("cret")
        }
    }

    @Test func `An unset variable where JSON wants a value is named`() {
        let text = ExpandedText(Array("{ \"a\": ${TTL} }".utf8), variables: [:])
        #expect {
            _ = try text.json(file: "t.json")
        } throws: { error in
            (error as? SolutionError)?.reason.contains("the variable TTL is not set") == true
        }
    }

    @Test func `Comments are passed over`() throws {
        let text = ExpandedText(Array("// of ours\n{ \"a\": /* one */ 1 }".utf8), variables: [:])
        #expect(try text.json(file: "t.json")["a"] == 1)
    }
}
