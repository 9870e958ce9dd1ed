import Testing

/// Unmodified AMQP clients against a running hub: Event Hubs, the service SDK's queue, and device links by Qpid Proton.
@Suite struct AMQPClientTests {
    @Test(.enabled(if: Machine.isRoot)) func `Devices and services are served over AMQP`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await StandardHub(in: folder.path)
        let lines = try await PythonClients.run("amqp_clients.py", environment: hub.environment, in: folder.path)
        for line in lines { #expect(line.result == "ok", "\(line.client): \(line.operation)") }
        #expect(lines.count >= 19)
    }
}
