import SolutionTemplate
import Testing

@Suite struct IgnorePatternsTests {
    @Test(arguments: [
        ("*.md", "README.md", true), ("*.md", "docs/README.md", false), ("**/*.md", "docs/a/README.md", true),
        ("**/*.md", "README.md", true), ("docs", "docs/a.txt", true), ("/docs/", "docs", true),
        ("./docs", "docs", true),
        ("do?s", "docs", true), ("do?s", "do/s", false), ("[a-c]x", "bx", true), ("[^a-c]x", "bx", false),
        ("a\\*", "a*", true), ("a\\*", "ab", false), ("# docs", "# docs", false), ("**", "a/b", true),
        ("a/**/z", "a/z", true), ("a/**/z", "a/b/c/z", true), ("*\n!keep.txt", "keep.txt", false),
        ("*\n!keep.txt", "other.txt", true), ("!keep.txt\n*", "keep.txt", true),
        ("docs\n!docs/a.md", "docs/a.md", false),
        ("a/../b", "b", true), ("node_modules", "src/node_modules/x", false),
        ("**/node_modules", "src/node_modules/x", true),
        ("", "a", false), ("  *.log  ", "x.log", true),
    ]) func `A path is ignored as the last fitting line says`(lines: String, path: String, ignored: Bool) {
        #expect(IgnorePatterns(lines).ignores(path) == ignored)
    }
}
