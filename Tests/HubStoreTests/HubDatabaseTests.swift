import Foundation
import JSONDocument
import Model
import SQLite
import Synchronization
import Testing

@testable import HubStore

@Suite struct HubDatabaseTests {
    struct Refusal: Error {}

    private func withDatabase(_ body: (HubDatabase, String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "registry-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "registry.db").path
        let database = try HubDatabase(path: path)
        defer { database.close() }
        try await body(database, path)
    }

    private static func record(_ key: IdentityKey, tags: String = "{}", isEdge: Bool = false) -> IdentityRecord {
        var twin = TwinTexts(TwinDocument())
        twin.tags = tags
        return IdentityRecord(
            identity: Identity(
                key: key, generationID: "1", tagCounter: 1,
                authentication: IdentityAuthentication(kind: .sas, keys: .init(primary: "a", secondary: "b")),
                isEdge: isEdge), twin: twin)
    }

    @Test func `A writer that throws undoes its own writes and nobody else's`() async throws {
        try await withDatabase { database, _ in
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<50 {
                    group.addTask {
                        try? await database.write { transaction in
                            try transaction.insert(Self.record(IdentityKey(device: "d\(number)")))
                            if number % 2 == 1 { throw Refusal() }
                        }
                    }
                }
            }
            let count = try await database.read { try $0.deviceCounts().total }
            #expect(count == 25)
        }
    }

    @Test func `What follows a commit runs in the order of the writes, and not for an undone one`() async throws {
        try await withDatabase { database, _ in
            let (seen, order) = (Numbers(), Numbers())
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<50 {
                    group.addTask {
                        try? await database.write { transaction in
                            transaction.afterCommit { seen.append(number) }
                            if number % 5 == 0 { throw Refusal() }
                            order.append(number)
                        }
                    }
                }
            }
            #expect(seen.all == order.all)
            #expect(seen.all.count == 40)
        }
    }

    @Test func `A part of a write can be undone alone`() async throws {
        try await withDatabase { database, _ in
            try await database.write { transaction in
                try transaction.insert(Self.record(IdentityKey(device: "kept")))
                try? transaction.nested {
                    try transaction.insert(Self.record(IdentityKey(device: "undone")))
                    throw Refusal()
                }
            }
            let devices = try await database.read { try $0.devices(limit: 10).map(\.key.deviceID) }
            #expect(devices == ["kept"])
        }
    }

    @Test func `A closed database refuses and does not hang`() async throws {
        try await withDatabase { database, _ in
            database.close()
            await #expect(throws: HubDatabaseClosed.self) { try await database.write { _ in } }
            await #expect(throws: HubDatabaseClosed.self) { try await database.read { _ in } }
        }
    }

    @Test func `A file of a later version is refused`() async throws {
        try await withDatabase { database, path in
            try await database.write { try $0.database.run("PRAGMA user_version = 999") }
            database.close()
            #expect(throws: HubSchemaError.self) { try HubDatabase(path: path) }
        }
    }

    @Test func `Every selection finds its rows through an index, in the order of keys`() async throws {
        try await withDatabase { database, _ in
            try await database.write { transaction in
                for device in ["c", "a", "b"] {
                    let key = IdentityKey(device: device)
                    try transaction.insert(
                        Self.record(key, tags: device == "c" ? "{}" : #"{"x":{"y":1}}"#, isEdge: device == "b"))
                    try transaction.insert(Self.record(IdentityKey(device: device, module: "m")))
                    try transaction.setStatuses(["one": device == "a"], of: key, from: "{}")
                }
            }
            let tag = try #require(TagEntry(steps: ["x", "y"], equals: 1))
            let expected: [(TwinSelection, [String])] = [
                (.devices, ["a", "b", "c"]), (.edgeDevices, ["b"]), (.modules, ["a/m", "b/m", "c/m"]),
                (.device("b", modules: false), ["b"]), (.device("b", modules: true), ["b/m"]),
                (.tagged(tag, modules: false), ["a", "b"]), (.tagged(tag, modules: true), []),
                (.configured("one", applied: false, modules: false), ["b", "c"]),
            ]
            for (selection, keys) in expected {
                let found = try await database.read { database in
                    var (keys, last): ([String], IdentityKey?) = ([], nil)
                    while let next = try database.page(of: selection, after: last, limit: 1).records.first?.identity.key
                    {
                        keys.append(next.description)
                        last = next
                    }
                    return keys
                }
                #expect(found == keys, "\(selection)")
            }
        }
    }

    @Test func `Tags that change or go leave the index`() async throws {
        try await withDatabase { database, _ in
            let key = IdentityKey(device: "d")
            try await database.write { try $0.insert(Self.record(key, tags: #"{"a":1,"b":{"c":"x"},"d":true}"#)) }
            try await database.write { transaction in
                let old = try transaction.database.record(key)?.twin ?? TwinTexts(TwinDocument())
                var new = old
                new.tags = #"{"a":2,"b":{"c":"x"}}"#
                try transaction.update(key, twin: new, from: old)
            }
            let entries = try await database.read {
                try $0.rows("SELECT path, value FROM tag ORDER BY path") { "\($0.text(0))=\($0.text(1))" }
            }
            #expect(entries == ["a=n2.0", "b.c=sx"])
            _ = try await database.write { try $0.remove(key) }
            let left = try await database.read { try $0.first("SELECT count(*) FROM tag") { $0.int(0) } }
            #expect(left == 0)
        }
    }
}

private final class Numbers: Sendable {
    private let numbers = Mutex<[Int]>([])
    var all: [Int] { numbers.withLock { $0 } }
    func append(_ number: Int) { numbers.withLock { $0.append(number) } }
}
