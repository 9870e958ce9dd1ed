import Testing

/// The service SDK for Python, unmodified, against a running hub.
@Suite struct ServiceSDKTests {
    @Test(.enabled(if: Machine.isRoot)) func `Each operation of azure-iot-hub over HTTPS does what it says`()
        async throws
    {
        let folder = try TemporaryFolder()
        let hub = try await StandardHub(in: folder.path)
        let lines = try await PythonClients.run("service_sdk.py", environment: hub.environment, in: folder.path)
        for line in lines { #expect(line.result == "ok", "\(line.client): \(line.operation)") }
        #expect(lines.count >= 24)
    }
}
