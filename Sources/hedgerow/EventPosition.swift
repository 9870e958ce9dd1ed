import ArgumentParser
import FoundationEssentials
import JSONDocument
import Model
import PKI

/// How far the messages of a hub were shown, kept in a file: the next sequence number of each partition that was seen,
/// and the time from which the others are read.
struct EventPosition {
    private let file: String
    private let since: String
    private var next: [String: Int]

    /// Reads the file, or writes one that stands where the first call is told to begin.
    ///
    /// - Parameters:
    ///   - since: for a new file: RFC 3339 or a duration back from now; now if nil.
    ///   - from: for a new file: `partition:number,…` or `beginning`, as `GET /events` takes it.
    init(file: String, since: String?, from: String?) throws {
        self.file = file
        if let bytes = try SecretFile.read(file) {
            guard let kept = try? JSONValue(parsing: bytes), let time = kept["since"]?.string,
                let partitions = kept["next"]?.object
            else { throw CommandFailure("\(file) keeps no position of `monitor`; remove it to begin anew") }
            self.since = time
            next = Dictionary(
                partitions.compactMap { name, number in number.int.map { (name, $0) } },
                uniquingKeysWith: { max($0, $1) })
            return
        }
        next = [:]
        if from?.lowercased() == "beginning" {
            self.since = Timestamp(seconds: 0).description
        } else {
            self.since = try Self.absolute(since)
            for part in from?.split(separator: ",") ?? [] {
                let pair = part.split(separator: ":")
                guard pair.count == 2, Int(pair[0]) != nil, let number = Int(pair[1]), number >= 0 else {
                    throw ValidationError("--from \(from ?? ""): write PARTITION:NUMBER,… or beginning")
                }
                next[String(pair[0])] = number
            }
        }
        // Now, and not with the first message: the next call is to go on here also when none came.
        try write()
    }

    /// A duration means another time at each call, so the time itself is kept.
    private static func absolute(_ since: String?) throws -> String {
        let now = Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
        guard let since else { return now.description }
        if let time = Timestamp(parsing: since) { return time.description }
        for (unit, seconds) in [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)]
        where since.hasSuffix(unit) {
            guard let number = Double(since.dropLast(unit.count)), number >= 0, number < 1e6 else { continue }
            return now.after(.seconds(-number * seconds)).description
        }
        throw ValidationError("--since is neither RFC 3339 nor a duration like 10m: '\(since)'")
    }

    /// The parameters of `GET /events` that go on there.
    var parameters: [(String, String)] {
        let numbers = next.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }.joined(separator: ",")
        return [("since", since)] + (numbers.isEmpty ? [] : [("from", numbers)])
    }

    /// Keeps that these lines were shown.
    mutating func pass(_ lines: [String]) throws {
        guard !lines.isEmpty else { return }
        for line in lines {
            guard let event = try? JSONValue(parsing: line), let partition = event["partition"]?.string,
                let number = event["sequenceNumber"]?.int
            else { continue }
            next[partition] = max(next[partition] ?? 0, number + 1)
        }
        try write()
    }

    private func write() throws {
        let kept: JSONValue = [
            "since": .string(since),
            "next": JSONValue(JSONObject(next.sorted { $0.key < $1.key }.map { ($0.key, JSONValue($0.value)) })),
        ]
        try SecretFile.write(kept.bytes(.pretty), to: file)
    }
}
