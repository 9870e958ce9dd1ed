import DeviceClient
import HubProtocol
import Model
import Testing

@Suite struct BackOffTests {
    @Test func `Pauses double up to the longest, a fifth more or less by chance`() {
        let backOff = BackOff()
        #expect(
            (0...6).map { backOff.delay(attempt: $0, random: 0.5) } == [1, 2, 4, 8, 16, 30, 30].map { .seconds($0) })
        #expect(backOff.delay(attempt: 0, random: 0) == .milliseconds(800))
        #expect(backOff.delay(attempt: 99, random: 1) == .seconds(36))
    }

    @Test func `A token from a key is for the identity and ends after its lifetime`() async throws {
        let credential = DeviceClientConfiguration.token(
            hubHostName: "hub.test", identity: IdentityKey(device: "pi", module: "m"), key: "a2V5", lifetime: 60,
            environment: ClientEnvironment(now: { 1000 }))
        guard case .token(let make) = credential else {
            Issue.record("no token")
            return
        }
        let token = try await make()
        #expect(token.expiry == 1060)
        let parsed = try SASToken(parsing: token.text)
        #expect(parsed.resource == "hub.test/devices/pi/modules/m")
        #expect(parsed.isSigned(with: Array("key".utf8)))
    }
}
