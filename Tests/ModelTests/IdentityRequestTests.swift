import JSONDocument
import Testing

@testable import Model

@Suite struct IdentityRequestTests {
    let device = IdentityKey(device: "d1")
    let now = Timestamp(seconds: 1_800_000_000)

    func make(_ body: JSONValue, updating existing: Identity? = nil) throws -> Identity {
        try IdentityRequest(body, for: existing?.key ?? device).identity(updating: existing, now: now) { "bmV3" }
    }

    @Test(
        arguments: [
            [:], ["authentication": ["type": "sas", "symmetricKey": [:]]],
            ["authentication": ["type": "sas", "symmetricKey": ["primaryKey": "", "secondaryKey": ""]]],
            ["authentication": ["symmetricKey": ["primaryKey": .null, "secondaryKey": .null]]],
        ] as [JSONValue])
    func `Keys that are left out are made`(body: JSONValue) throws {
        let identity = try make(body)
        #expect(identity.authentication.kind == .sas)
        #expect(identity.authentication.keys.all == ["bmV3", "bmV3"])
    }

    @Test(
        arguments: [
            ["authentication": ["type": "sas", "symmetricKey": ["primaryKey": "MDEyMzQ1Njc4OTAxMjM0NQ=="]]],
            ["authentication": ["type": "sas", "symmetricKey": ["primaryKey": "YQ==", "secondaryKey": "YQ=="]]],
            ["authentication": ["type": "none"]], ["status": "asleep"], ["deviceId": "other"],
            ["authentication": ["type": "selfSigned", "x509Thumbprint": ["primaryThumbprint": "ab:cd"]]],
            ["parentScopes": ["ms-azure-iot-edge://a-1", "ms-azure-iot-edge://b-1"]], [],
        ] as [JSONValue])
    func `What cannot be is refused`(body: JSONValue) {
        #expect(throws: HubError.self) { try make(body) }
    }

    @Test func `An edge device has a scope of its own that ends in its generation`() throws {
        let identity = try make(["capabilities": ["iotEdge": true], "deviceScope": "ms-azure-iot-edge://x-1"])
        #expect(identity.deviceScope == "ms-azure-iot-edge://d1-\(identity.generationID)")
        #expect(identity.parentScopes.isEmpty)
    }

    @Test func `A leaf has its parent's scope in both members and loses both with an empty text`() throws {
        let leaf = try make(["deviceScope": "ms-azure-iot-edge://gw-1"])
        #expect(leaf.parentScopes == ["ms-azure-iot-edge://gw-1"])
        let detached = try make(["deviceScope": ""], updating: leaf)
        #expect(detached.deviceScope == nil)
        #expect(detached.parentScopes.isEmpty)
        #expect(detached.generationID == leaf.generationID)
        #expect(detached.etag != leaf.etag)
    }
}
