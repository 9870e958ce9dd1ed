import SolutionTemplate
import Testing

@Suite struct EnvironmentFileTests {
    private func read(_ text: String, _ environment: [String: String] = [:]) -> [String: String] {
        EnvironmentFile.merge(text, into: environment)
    }

    @Test(arguments: [
        ("A=plain", "plain"), ("A=\"double quoted\"", "double quoted"), ("A='single'", "single"),
        ("A=left # right", "left"), ("A=left#right", "left#right"), ("A=\"left # right\" # more", "left # right"),
        ("A =   padded value   ", "padded value"), ("export A=yes", "yes"), ("  export   A = b", "b"),
        ("A=a=b=c", "a=b=c"), ("A=", ""), ("A=\"a\\nb\\\"c\\\\d\"", "a\nb\"c\\d"), ("A='it\\'s \\n'", "it's \\n"),
        ("A=\"two\nlines\"", "two\nlines"), ("A=one\r\nB=two", "one"), ("'A'=x", "x"), ("A=1\nA=2", "2"),
        ("\u{FEFF}A=mark", "mark"), ("A=a\\nb", "a\\nb"), ("# A=0\n\nA=1", "1"), ("A=# no", "# no"),
        ("A= # no", ""), ("A=#no", "#no"),
    ]) func `A value is read in every spelling`(text: String, value: String) { #expect(read(text)["A"] == value) }

    @Test(arguments: [
        ("A=${X}-more", "x-more"), ("A='${X}-raw'", "x-raw"), ("A=\"${X}\"", "x"), ("A=${NONE:-fallback}", "fallback"),
        ("A=${X:-fallback}", "x"), ("A=[${NONE}]", "[]"), ("A=$X", "$X"), ("A=${B}\nB=late", ""),
        ("B=${X}1\nA=${B}2", "x12"),
        ("A=${X", "${X"), ("A=${X:odd}", "${X:odd}"),
    ]) func `Braces are replaced in all forms, bare names in none`(text: String, value: String) {
        #expect(read(text, ["X": "x"])["A"] == value)
    }

    @Test func `The process wins over the file, also while replacing`() {
        let result = read("X=file\nY=${X}/y", ["X": "process"])
        #expect(result == ["X": "process", "Y": "process/y"])
    }

    @Test func `A name without a sign sets nothing, and a broken line spoils no other`() {
        #expect(read("NAME\nB=\"open\nC=1") == ["C": "1"])
        #expect(read("=x\nA=1") == ["A": "1"])
    }

    @Test func `A name without a sign takes back what was set before, and no default stands in for it`() {
        #expect(read("A=1\nA\nB=[${A}]\nC=[${A:-d}]") == ["B": "[]", "C": "[]"])
    }

    @Test(arguments: ["\r\n", "\r"])
    func `Line ends of other systems are line ends, also between quotes`(end: String) {
        #expect(read("A=\"one\(end)two\"\(end)B=3") == ["A": "one\ntwo", "B": "3"])
    }
}
