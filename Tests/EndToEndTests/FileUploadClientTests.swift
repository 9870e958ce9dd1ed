import Testing

/// Files of devices, by unmodified clients.
@Suite(.timeLimit(.minutes(10))) struct FileUploadClientTests {
    @Test(.enabled(if: Machine.isRoot))
    func `A device uploads files with the blob client, and a service is told and reads them`() async throws {
        let folder = try TemporaryFolder()
        let hub = try await StandardHub(in: folder.path)
        let lines = try await PythonClients.run("file_upload.py", environment: hub.environment, in: folder.path)
        for line in lines { #expect(line.result == "ok", "\(line.client): \(line.operation)") }
        #expect(lines.count >= 8)
    }
}
