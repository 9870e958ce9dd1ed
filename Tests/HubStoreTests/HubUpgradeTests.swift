import Foundation
import Model
import SQLite
import Testing

@testable import HubStore

/// Files of earlier versions of the program.
@Suite(.timeLimit(.minutes(5))) struct HubUpgradeTests {
    @Test(arguments: 1...HubSchema.steps.count)
    func `A registry of an earlier version is brought up to date and keeps what it held`(version: Int) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "upgrade-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "registry.db").path
        do {
            let old = try SQLiteDatabase(path: path, synchronous: .full)
            try HubSchema.migrate(old, to: version)
            try old.run(
                """
                INSERT INTO identity VALUES ('pi', '', '637', 5, 1, NULL, 0, 1, 'ms-azure-iot-edge://pi-637', NULL, NULL,
                'sas', 'QQ==', 'Qg==', NULL, NULL, 0, 0, 3, 2, 7, 4, '', '{}', NULL, '{"site":"north"}', '{"period":5}',
                '{}', '{}', '{}')
                """)
            try old.run(
                "INSERT INTO tag VALUES (?, ?, 'pi', '')", .text("site"), .text("\"north\""))
            try old.run("INSERT INTO policy VALUES ('iothubowner', 15, 'QQ==', 'Qg==')")
        }
        let database = try HubDatabase(path: path)
        defer { database.close() }
        let record = try #require(try await database.read { try $0.record(IdentityKey(device: "pi")) })
        #expect(record.identity.isEdge && record.identity.authentication.keys.primary == "QQ==")
        #expect(record.twin.tags == #"{"site":"north"}"# && record.twin.desiredVersion == 7)
        let found = try await database.read { database in
            let version = try database.first("PRAGMA user_version") { $0.int(0) }
            let policies = try database.first("SELECT count(*) FROM policy") { $0.int(0) }
            return (version, policies, try database.fileNotifications(limit: 1), try database.enrollmentCount(.group))
        }
        #expect(found.0 == HubSchema.steps.count && found.1 == 1 && found.2.isEmpty && found.3 == 0)
        // What the new tables hold works beside what was there.
        try await database.write { try $0.set("name", to: "value") }
        #expect(try await database.read { try $0.setting("name") } == "value")
    }

    @Test func `A registry of a later version is refused and not touched`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "upgrade-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "registry.db").path
        let later = HubSchema.steps.count + 1
        do {
            let database = try SQLiteDatabase(path: path, synchronous: .full)
            try HubSchema.migrate(database)
            try database.execute("PRAGMA user_version = \(later)")
        }
        #expect(throws: HubSchemaError.self) { _ = try HubDatabase(path: path) }
        let database = try SQLiteDatabase(path: path, readOnly: true)
        #expect(try database.first("PRAGMA user_version") { $0.int(0) } == later)
    }
}
