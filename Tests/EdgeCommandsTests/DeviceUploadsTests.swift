import Foundation
import Logging
import NIOCore
import NIOHTTP1
import Synchronization
import Testing
import Transport

@testable import EdgeCommands

/// Uploads against a store of blobs that is a server in this process.
@Suite(.timeLimit(.minutes(5)))
struct DeviceUploadsTests {
    private final class Store: HTTPResponder {
        let requests = Mutex<[HTTPRequest]>([])
        let status: HTTPResponseStatus

        init(_ status: HTTPResponseStatus) { self.status = status }

        func respond(to request: HTTPRequest) async -> HTTPResponse {
            requests.withLock { $0.append(request) }
            return HTTPResponse(status: status)
        }
    }

    private func uploads(in folder: String) -> DeviceUploads {
        DeviceUploads(folder: folder, furtherRootsPEM: nil) { _ in [] }
    }

    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = NSTemporaryDirectory() + "uploads-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    private func withStore(
        _ status: HTTPResponseStatus, _ body: (_ store: Store, _ address: String) async throws -> Void
    ) async throws {
        let store = Store(status)
        let listener = try await HTTPServer.start(
            on: .tcp(host: "127.0.0.1", port: 0), responder: store, logger: Logger(label: "test"))
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(store, "http://127.0.0.1:\(listener.port)"))
        } catch {
            result = .failure(error)
        }
        await listener.shutDown(grace: .zero)
        try result.get()
    }

    @Test func `A file becomes a blob below the container, with its signature`() async throws {
        try await withStore(.created) { store, address in
            try await uploads(in: "/nowhere").put(
                Array("hello".utf8), named: "hub.lan/pi/a b-1.log", contentType: "text/plain",
                to: address + "/logs?sv=1&sig=a%2Fb")
            let request = try #require(store.requests.withLock { $0.first })
            #expect(request.method == .PUT)
            #expect(request.target == "/logs/hub.lan/pi/a%20b-1.log?sv=1&sig=a%2Fb")
            #expect(request.headers.first(name: "x-ms-blob-type") == "BlockBlob")
            #expect(request.headers.first(name: "content-type") == "text/plain")
            #expect(String(buffer: request.body) == "hello")
        }
    }

    @Test func `A store that refuses is named, and its signature is not`() async throws {
        try await withStore(.forbidden) { _, address in
            let error = await #expect(throws: EdgeFailure.self) {
                try await uploads(in: "/nowhere").put([], named: "a", contentType: "", to: address + "/c?sig=secret")
            }
            #expect(error?.description.contains("403") == true)
            #expect(error?.description.contains("127.0.0.1") == true)
            #expect(error?.description.contains("secret") == false)
        }
    }

    @Test func `A store that is not there is told without its signature`() async throws {
        let error = await #expect(throws: EdgeFailure.self) {
            try await uploads(in: "/nowhere").put(
                [], named: "a", contentType: "", to: "http://127.0.0.1:1/c?sig=secret")
        }
        #expect(error?.description.contains("127.0.0.1:1") == true)
        #expect(error?.description.contains("secret") == false)
    }

    @Test func `A file stays below the folder of uploads`() async throws {
        try await withFolder { folder in
            try await uploads(in: folder).put(
                [1, 2], named: "hub/pi/a.log", contentType: "", to: "file:///night/")
            #expect(FileManager.default.contents(atPath: folder + "/night/hub/pi/a.log") == Data([1, 2]))
            await #expect(throws: EdgeFailure.self) {
                try await uploads(in: folder).put([1], named: "a", contentType: "", to: "file:../../etc")
            }
        }
    }

    @Test(arguments: ["", "ftp://a/b", "https://", "/etc/passwd", "https:///x"])
    func `Other destinations are refused`(destination: String) async {
        await #expect(throws: EdgeFailure.self) {
            try await uploads(in: "/nowhere").put([1], named: "a", contentType: "", to: destination)
        }
    }
}
