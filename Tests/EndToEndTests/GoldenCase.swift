import Foundation
import JSONDocument
import Testing

/// One folder of `Vectors/devtool`, as its README describes them: what the former tool made of a solution.
struct GoldenCase: Sendable, CustomTestStringConvertible {
    let name: String
    /// The arguments of each invocation.
    let commands: [[String]]
    let environment: [String: String]
    let folder: String
    let needs: Set<String>
    let isStrict: Bool
    /// Whether each invocation ends well.
    let succeeds: [Bool]
    /// The images to look at after the run; null: absent.
    let images: JSONObject
    /// The registry's tags, and whether each is there.
    let registry: JSONObject

    static let root = ProgramUnderTest.project + "/Tests/EndToEndTests/Vectors/devtool"

    var path: String { "\(Self.root)/\(name)" }
    var needsEngine: Bool { !needs.isEmpty }
    var testDescription: String { name }

    static let all: [GoldenCase] = {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return names.sorted().filter { $0 != "README.md" }.map(GoldenCase.init)
    }()

    private init(name: String) {
        self.name = name
        func text(_ file: String) -> String {
            FileManager.default.contents(atPath: "\(Self.root)/\(name)/\(file)").map {
                String(decoding: $0, as: UTF8.self)
            }
                ?? ""
        }
        func lines(_ file: String) -> [String] { text(file).split(whereSeparator: \.isNewline).map(String.init) }
        commands = lines("cmd").map(Self.words)
        environment = Dictionary(
            lines("env").compactMap { line in
                line.firstIndex(of: "=").map { (String(line[..<$0]), String(line[line.index(after: $0)...])) }
            }, uniquingKeysWith: { $1 })
        folder = lines("cwd").first ?? "."
        needs = Set(lines("needs"))
        isStrict = text("compare").contains("strict")
        succeeds = lines("expected/exit_code").map { $0 == "0" }
        let observed = try? JSONValue(parsing: text("expected/observed.json"))
        images = observed?["images"]?.object ?? JSONObject()
        registry = observed?["registry"]?.object ?? JSONObject()
    }

    /// A line with the quoting of a shell.
    private static func words(_ line: String) -> [String] {
        var words: [String] = []
        var word: String?
        var quote: Character?
        var rest = line[...]
        while let character = rest.popFirst() {
            if let open = quote {
                if character == open {
                    quote = nil
                } else if character == "\\", open == "\"", let next = rest.first, "\"\\$`".contains(next) {
                    word = (word ?? "") + String(rest.removeFirst())
                } else {
                    word?.append(character)
                }
            } else if character == "'" || character == "\"" {
                quote = character
                word = word ?? ""
            } else if character == "\\", let next = rest.popFirst() {
                word = (word ?? "") + String(next)
            } else if character == " " {
                if let whole = word { words.append(whole) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        if let word { words.append(word) }
        return words
    }

    /// The files that a run is expected to make or change, with their content.
    var expectedFiles: [String: Data] { FolderContent.read("\(path)/expected/files") }
}

/// The files below a folder, by their paths in it.
enum FolderContent {
    static func read(_ folder: String) -> [String: Data] {
        var files: [String: Data] = [:]
        for path in FileManager.default.subpaths(atPath: folder) ?? [] {
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: "\(folder)/\(path)", isDirectory: &isFolder),
                !isFolder.boolValue
            else { continue }
            files[path] = FileManager.default.contents(atPath: "\(folder)/\(path)")
        }
        return files
    }
}

/// A manifest in the form in which two of them are compared: create options joined, and read where they are JSON.
enum ManifestMeaning {
    static func of(_ value: JSONValue) throws -> JSONValue {
        switch value {
        case .array(let elements): return .array(try elements.map(of))
        case .object(var object):
            if let first = object["createOptions"]?.string {
                var pieces = [first]
                for index in 1...7 {
                    guard let next = object["createOptions0\(index)"]?.string else { break }
                    pieces.append(next)
                    object["createOptions0\(index)"] = nil
                }
                if let long = pieces.first(where: { $0.unicodeScalars.count > 512 }) { throw TooLong(piece: long) }
                let whole = pieces.joined()
                object["createOptions"] = (try? JSONValue(parsing: whole)) ?? .string(whole)
            }
            return .object(JSONObject(try object.map { ($0.key, try of($0.value)) }))
        default: return value
        }
    }

    struct TooLong: Error { let piece: String }
}
