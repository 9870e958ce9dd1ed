import Crypto
import JSONDocument
import SolutionTemplate

/// What an image was last built from, kept beside the template, so that an unchanged module is not sent again.
struct BuildRecord: Sendable, Hashable {
    /// Of what the file system said of the context; empty when a file was too fresh to trust its times.
    var status: String
    /// Of the context's content.
    var content: String
    /// Of everything else that goes into a build.
    var options: String
    /// The ids of the base images that the engine had after the build, by name.
    var bases: [String: String]
    /// The id of the image that came out.
    var image: String

    private static func path(_ folder: String, _ tag: String) -> String {
        "\(folder)/builds/\(SHA256.hash(data: Array(tag.utf8)).prefix(16).hexadecimal).json"
    }

    /// The record for a tag; nil when there is none that can be read, which only costs a build.
    static func read(tag: String, in folder: String) -> BuildRecord? {
        guard let content = try? LocalFiles.read(path(folder, tag)), let json = try? JSONValue(parsing: content),
            json["tag"]?.string == tag, let status = json["status"]?.string, let digest = json["content"]?.string,
            let options = json["options"]?.string, let image = json["image"]?.string
        else { return nil }
        let bases = (json["bases"]?.object ?? JSONObject()).compactMap { key, value in value.string.map { (key, $0) } }
        return BuildRecord(
            status: status, content: digest, options: options,
            bases: Dictionary(bases, uniquingKeysWith: { $1 }), image: image)
    }

    func write(tag: String, in folder: String) throws(SolutionError) {
        let json: JSONValue = [
            "tag": .string(tag), "image": .string(image), "status": .string(status), "content": .string(content),
            "options": .string(options),
            "bases": .object(JSONObject(bases.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })),
        ]
        try LocalFiles.makeFolder("\(folder)/builds")
        try LocalFiles.write(json.bytes(.pretty), to: Self.path(folder, tag))
    }
}
