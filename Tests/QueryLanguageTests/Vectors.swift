import Foundation
import JSONDocument

/// The golden vectors beside the tests.
enum Vectors {
    static func load(_ name: String, from file: String = #filePath) throws -> JSONValue {
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent("Vectors")
        return try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("\(name).json")))
    }

    static func list(_ file: String, _ member: String) throws -> [JSONValue] { try load(file)[member]?.array ?? [] }

    /// The query of a vector, which may be given as a pattern to be filled up to a length.
    static func text(of query: JSONValue?) -> String {
        if let text = query?.string { return text }
        let parts = (query?["@@pad"]?.string ?? "").components(separatedBy: "{}")
        let missing = (query?["length"]?.int ?? 0) - parts.joined().count
        return parts.joined(separator: String(repeating: query?["fill"]?.string ?? "x", count: max(missing, 0)))
    }
}
