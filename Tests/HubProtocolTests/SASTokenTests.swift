import FoundationEssentials
import Testing

@testable import HubProtocol

@Suite struct SASTokenTests {
    let key = Data("0123456789abcdef0123456789abcdef".utf8)

    @Test func `What is signed is accepted with the same key and no other`() throws {
        let signed = try SASToken.sign(
            resource: "hub.lan/devices/pi/modules/$edgeAgent", key: key.base64EncodedString(), expiry: 1000)
        let token = try SASToken(parsing: signed.text)
        #expect(token.isSigned(with: key))
        #expect(!token.isSigned(with: Data(key.reversed())))
        #expect(token.covers("HUB.LAN/devices/pi/modules/$edgeAgent/messages/events"))
        #expect(!token.covers("hub.lan/devices/pi"))
        #expect(token.policy == nil)
        #expect(token.isExpired(now: 1001) && !token.isExpired(now: 1000) && !token.isExpired(now: 1300, skew: 300))
    }

    @Test func `The signature covers the resource exactly as it was sent, in any order of the fields`() throws {
        let signed = SASToken.sign(resource: "h", expiry: 7) { _ in [1, 2, 3] }
        #expect(signed.text.contains("sig=AQID"))
        let text = "SharedAccessSignature se=99.5&skn=owner&sig=AQID&sr=sb%3a%2f%2fhub.lan%2fa%20b"
        let token = try SASToken(parsing: text)
        #expect(token.rawResource == "sb%3a%2f%2fhub.lan%2fa%20b")
        #expect(token.resource == "hub.lan/a b")
        #expect(token.expiry == 99 && token.policy == "owner" && token.signature == [1, 2, 3])
    }

    @Test func `A prefix counts by whole segments, and encoded ids are read`() throws {
        let token = try SASToken(parsing: "SharedAccessSignature sr=h%2Fdevices%2Fa%2523b&sig=AQID&se=1")
        #expect(token.covers("h/devices/a#b"))
        #expect(token.covers("h/devices/a#b/messages"))
        #expect(!token.covers("h/devices/a#bc"))
    }

    @Test(arguments: [
        "", "SharedAccessSignature ", "SharedAccessSignature sr=a&se=1", "SharedAccessSignature sr=a&sig=AQID&se=x",
        "SharedAccessSignature sr=a&sig=*&se=1", "Bearer x", "SharedAccessSignature sr=a&sig&se=1",
        "SharedAccessSignature sr=&sig=AQID&se=1",
    ]) func `A malformed token is refused`(text: String) {
        #expect(throws: SASToken.Failure.self) { try SASToken(parsing: text) }
    }
}
