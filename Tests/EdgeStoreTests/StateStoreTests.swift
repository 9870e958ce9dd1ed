import EdgeStore
import JSONDocument
import Model
import Testing

@Suite struct StateStoreTests {
    let folder = TemporaryFolder()
    let probe = IdentityKey(device: "pi", module: "probe")

    @Test func `Twins come back as they were saved, numbers and order included`() async throws {
        var twin = CachedTwin(
            desired: ["z": 1.50, "a": ["deep": 9_007_199_254_740_991]], desiredVersion: 4, reported: ["up": true],
            reportedVersion: 7)
        var store = try StateStore(folder: folder.path)
        #expect(try await store.twin(of: probe) == nil)
        try await store.save(twin, of: probe)
        #expect(try await store.identitiesWithPendingReports() == [])
        twin.pending = ["gone": .null]
        try await store.save(twin, of: probe)
        await store.close()
        store = try StateStore(folder: folder.path)
        #expect(try await store.twin(of: probe) == twin)
        #expect(try await store.twin(of: probe)?.desired.keys == ["z", "a"])
        #expect(try await store.identitiesWithPendingReports() == [probe])
        await store.close()
    }

    @Test func `Identities, documents and subscriptions survive`() async throws {
        var store = try StateStore(folder: folder.path)
        let leaf = IdentityKey(device: "leaf")
        try await store.saveIdentities([probe: ["generationId": "1"], leaf: ["generationId": "2"]], removing: [])
        try await store.saveIdentities([leaf: ["generationId": "3"]], removing: [probe])
        try await store.save(["routes": ["up": "FROM /* INTO $upstream"]], as: "configuration")
        try await store.save(subscriptions: ["methods", "inputs"], of: probe)
        try await store.save(subscriptions: [], of: leaf)
        await store.close()
        store = try StateStore(folder: folder.path)
        #expect(try await store.identities() == [leaf: ["generationId": "3"]])
        #expect(try await store.document("configuration") == ["routes": ["up": "FROM /* INTO $upstream"]])
        #expect(try await store.document("other") == nil)
        #expect(try await store.subscriptions() == [probe: ["methods", "inputs"], leaf: []])
        try await store.save(subscriptions: nil, of: probe)
        #expect(try await store.subscriptions() == [leaf: []])
        await store.close()
        await #expect(throws: EdgeStoreError.closed) { try await store.document("configuration") }
    }
}
