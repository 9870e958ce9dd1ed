import JSONDocument
import Testing

@testable import Model

@Suite struct TwinDocumentTests {
    let now = Timestamp(seconds: 1_767_323_045, nanosecond: 123_456_700)

    @Test func `A new twin has version 2, sections at 1 and the first etag`() throws {
        let texts = TwinTexts(TwinDocument())
        let identity = Identity(
            key: IdentityKey(device: "d1"), generationID: "1", tagCounter: 1,
            authentication: IdentityAuthentication(kind: .sas))
        let view = try JSONValue(parsing: texts.serviceView(of: identity))
        #expect(view["version"] == 2)
        #expect(view["etag"] == "AAAAAAAAAAE=")
        #expect(view["deviceEtag"] == "MQ==")
        #expect(view["statusUpdateTime"] == "0001-01-01T00:00:00Z")
        #expect(view["configurations"] == nil)
        #expect(
            view["properties"]?["desired"] == ["$metadata": ["$lastUpdated": "0001-01-01T00:00:00Z"], "$version": 1])
    }

    @Test func `A replacement tells the device which top-level names vanished`() throws {
        var twin = TwinDocument()
        _ = try twin.patch(["properties": ["desired": ["a": 1, "b": ["c": 2]]]], now: now)
        let change = try twin.replace(["properties": ["desired": ["b": ["d": 3]]]], now: now)
        #expect(change.notification?.patch == ["b": ["d": 3], "a": .null, "$version": 3])
    }

    @Test func `A section above its limit may shrink but not grow`() throws {
        var tags = JSONObject()
        for number in 0..<20 { tags["key\(number)"] = .string(String(repeating: "x", count: 500)) }
        var twin = TwinDocument(
            tags: tags, desired: TwinSection(), reported: TwinSection(), version: 2, tagCounter: 1)
        _ = try twin.patch(["tags": ["key0": .null]], now: now)
        #expect(throws: HubError.self) { try twin.patch(["tags": ["more": "y"]], now: now) }
    }

    @Test func `Tags that are null are refused in a patch`() {
        var twin = TwinDocument()
        #expect(throws: HubError.self) { try twin.patch(["tags": .null], now: now) }
    }

    @Test(arguments: [
        ("*", EntityCondition.any), ("\"*\"", .any), ("abc=", .tag("abc=")), ("\"abc=\"", .tag("abc=")),
        ("W/\"abc=\"", .tag("abc=")), ("", .none),
    ])
    func `If-Match is read with and without quotes`(text: String, condition: EntityCondition) {
        #expect(EntityCondition(ifMatch: text) == condition)
    }

    @Test(arguments: [
        "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.9999999Z", "2024-02-29T12:00:00Z", "2026-01-02T03:04:05.1234567Z",
        "9999-12-31T23:59:59.0000001Z",
    ])
    func `A time survives its text`(text: String) {
        #expect(Timestamp(parsing: text)?.description == text)
    }

    @Test func `A time is read with offset, without zone, and with milliseconds`() {
        #expect(Timestamp(parsing: "2026-01-02T03:04:05+01:30")?.description == "2026-01-02T01:34:05Z")
        #expect(Timestamp(parsing: "2026-01-02T03:04:05")?.description == "2026-01-02T03:04:05Z")
        #expect(Timestamp(parsing: "2026-01-02T03:04:05.5Z")?.millisecondText == "2026-01-02T03:04:05.500Z")
        #expect(Timestamp(parsing: "2026-13-02T03:04:05Z") == nil)
    }
}
