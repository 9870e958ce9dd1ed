import Foundation
import Testing

/// Unmodified clients of the provisioning service: the one that enrols, and devices that register.
@Suite(.timeLimit(.minutes(10))) struct ProvisioningClientTests {
    @Test(.enabled(if: Machine.isRoot))
    func `Devices are enrolled by the service SDK and register by key and by certificate`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await StandardHub(in: folder.path)
        let scope = try await ProgramUnderTest.expect(["enrollment", "scope"], environment: hub.environment)
        var environment = hub.environment
        environment["HEDGEROW_ID_SCOPE"] = scope.trimmingCharacters(in: .whitespacesAndNewlines)
        let lines = try await PythonClients.run("provisioning.py", environment: environment, in: folder.path)
        for line in lines { #expect(line.result == "ok", "\(line.client): \(line.operation)") }
        #expect(lines.count >= 13)
    }

    @Test func `Enrolments are managed on the command line`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        try await hub.command("enrollment", "create", "fleet", "--group", "--tags", #"{"site":"north"}"#)
        try await hub.command("enrollment", "create", "pi", "--device-id", "pi-device", "--edge")
        #expect(try await hub.command("enrollment", "list").contains("pi-device"))
        #expect(try await hub.command("enrollment", "list", "--group").contains("fleet"))
        #expect(try await hub.command("enrollment", "show", "pi", "--keys").contains("primaryKey"))
        let key = try await hub.command("enrollment", "device-key", "fleet", "pi-42")
        #expect(key.trimmingCharacters(in: .whitespacesAndNewlines).utf8.count == 44)
        #expect(try await hub.command("enrollment", "registrations", "fleet", "--output", "json").contains("[]"))
        try await hub.command("enrollment", "delete", "fleet", "--group")
        let gone = try await hub.outcome("enrollment", "show", "fleet", "--group")
        #expect(gone.code == 1)
        #expect(try await hub.outcome("enrollment", "create", "a", "--authority", "x").code == 2)
    }
}
