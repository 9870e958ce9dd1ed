import Foundation
import JSONDocument
import Testing

@testable import Model

@Suite struct TwinVectorTests {
    @Test(arguments: try TwinVector.all())
    func `A request leaves the twin that the vector expects`(_ vector: TwinVector) throws {
        try TwinVectorRun(vector).check()
    }
}

struct TwinVector: Sendable, CustomTestStringConvertible {
    let json: JSONValue

    var testDescription: String { "\(json["id"]?.string ?? "?") \(json["title"]?.string ?? "")" }

    static func all() throws -> [TwinVector] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Vectors/twin")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        return try files.sorted { $0.path < $1.path }.flatMap { file in
            let document = try JSONValue(parsing: Data(contentsOf: file))
            return (document["vectors"]?.array ?? []).map { TwinVector(json: expand($0)) }
        }
    }

    /// Replaces the macros that the vectors' README explains.
    static func expand(_ value: JSONValue) -> JSONValue {
        switch value {
        case .array(let elements): return .array(elements.map(expand))
        case .object(let object):
            let count = object["count"]?.int ?? 0
            if let text = object["@@repeat"]?.string { return .string(String(repeating: text, count: count)) }
            if let depth = object["@@deep"]?.int { return deep(depth, object["leaf"] ?? 1) }
            var members = JSONObject()
            if let key = object["@@longkey"]?.string {
                return .object([String(repeating: key, count: count): object["value"] ?? 1])
            }
            for (key, member) in object {
                if key == "@@fill" { fill(member, into: &members) } else { members[key] = expand(member) }
            }
            return .object(members)
        default: return value
        }
    }

    private static func deep(_ depth: Int, _ leaf: JSONValue) -> JSONValue {
        var value: JSONValue = ["leaf": leaf]
        for level in stride(from: depth - 1, to: 0, by: -1) { value = .object(["n\(level)": value]) }
        return value
    }

    private static func fill(_ fill: JSONValue, into members: inout JSONObject) {
        let width = fill["keyWidth"]?.int ?? 0
        for index in 0..<(fill["count"]?.int ?? 0) {
            let digits = String(index)
            let key = (fill["keyPrefix"]?.string ?? "") + String(repeating: "0", count: max(0, width - digits.count))
            let text = String(repeating: fill["valueChar"]?.string ?? "x", count: fill["valueLength"]?.int ?? 0)
            members[key + digits] = fill["value"] ?? .string(text)
        }
    }
}

struct TwinVectorRun {
    let vector: JSONValue
    let before: TwinDocument
    static let old = Timestamp(seconds: 1_700_000_000)
    static let new = Timestamp(seconds: 1_800_000_000, nanosecond: 123_456_700)

    init(_ vector: TwinVector) {
        self.vector = vector.json
        let given = vector.json["given"]
        let desiredVersion = given?["desiredVersion"]?.int ?? 1
        before = TwinDocument(
            tags: given?["tags"]?.object ?? [:],
            desired: TwinSection(
                properties: given?["desired"]?.object ?? [:], version: desiredVersion,
                stamp: TwinStamp(time: Self.old, version: desiredVersion)),
            reported: TwinSection(
                properties: given?["reported"]?.object ?? [:], version: given?["reportedVersion"]?.int ?? 1,
                stamp: TwinStamp(time: Self.old, version: nil)),
            version: 5, tagCounter: 7)
    }

    func check() throws {
        let expect = try #require(vector["expect"])
        var after = before
        var status = 200
        var error: HubError?
        var change = TwinChange()
        do throws(HubError) {
            change = try carryOut(on: &after)
            if vector["request"]?["op"]?.string == "report" { status = 204 }
        } catch let refusal {
            status = refusal.code.status
            error = refusal
        }
        let expected = expect["status"]?.array?.compactMap(\.int) ?? [expect["status"]?.int ?? 0]
        if vector["strength"]?.string == "either", status / 100 == 4 {
            #expect(after == before)
            return
        }
        #expect(expected.contains(status), "\(String(describing: error))")
        if let code = expect["errorCode"]?.string { #expect(error?.code.name == code) }
        checkSections(expect, after)
        if let changed = expect["etagChanged"]?.bool { #expect((after.etag != before.etag) == changed) }
        checkMetadata(expect, after)
        if let notify = expect["notify"] { checkNotification(notify, change) }
        if let response = expect["response"] {
            #expect(try JSONValue(parsing: TwinTexts(after).deviceView) == response)
        }
        #expect(try TwinTexts(after).document() == after)
    }

    private func carryOut(on twin: inout TwinDocument) throws(HubError) -> TwinChange {
        let request = vector["request"]
        var body = request?["body"] ?? [:]
        if let raw = request?["raw"]?.string {
            do {
                body = try JSONValue(parsing: raw)
            } catch {
                throw HubError(.iotHubFormatError, "\(error)")
            }
        }
        let condition = EntityCondition(
            ifMatch: request?["ifMatch"]?.string?.replacingOccurrences(of: "E1", with: before.etag))
        switch request?["op"]?.string {
        case "patch": return try twin.patch(body, condition: condition, now: Self.new)
        case "replace": return try twin.replace(body, condition: condition, now: Self.new)
        case "report":
            return try twin.report(body, expectedVersion: request?["expectedVersion"]?.int, now: Self.new)
        default: return TwinChange()
        }
    }

    private func checkSections(_ expect: JSONValue, _ after: TwinDocument) {
        if let tags = expect["tags"] { #expect(JSONValue.object(after.tags) == tags) }
        if let desired = expect["desired"] { #expect(JSONValue.object(after.desired.properties) == desired) }
        if let reported = expect["reported"] { #expect(JSONValue.object(after.reported.properties) == reported) }
        if let version = expect["desiredVersion"]?.int { #expect(after.desired.version == version) }
        if let version = expect["reportedVersion"]?.int { #expect(after.reported.version == version) }
    }

    private func checkMetadata(_ expect: JSONValue, _ after: TwinDocument) {
        for entry in expect["metadata"]?.array ?? [] {
            let section = entry["section"]?.string == "desired" ? after.desired : after.reported
            let node = JSONValue.object(section.metadata).at((entry["path"]?.array ?? []).compactMap(\.string))
            switch entry["stamp"]?.string {
            case "new": #expect(node?["$lastUpdated"]?.string == Self.new.description, "\(entry)")
            case "old": #expect(node?["$lastUpdated"]?.string == Self.old.description, "\(entry)")
            default: #expect(node == nil, "\(entry)")
            }
        }
    }

    private func checkNotification(_ expected: JSONValue, _ change: TwinChange) {
        if expected.isNull {
            #expect(change.notification == nil)
        } else {
            #expect(change.notification?.version == expected["version"]?.int)
            #expect(change.notification.map { JSONValue.object($0.patch) } == expected["body"])
        }
    }
}
