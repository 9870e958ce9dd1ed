import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Testing
import Transport

@testable import Hub

@Suite(.timeLimit(.minutes(5))) struct FileUploadTests {
    private struct Bench {
        let hub: HubBench
        let desk: FileDesk
        let key: String

        struct Answer {
            let status: Int
            let headers: HTTPHeaders
            let body: [UInt8]
        }

        static let device = IdentityKey(device: "pi")

        /// Asks as a device, or as a blob client does.
        func send(
            _ method: HTTPMethod, _ target: String, _ body: [UInt8] = [], headers: HTTPHeaders = [:]
        ) async throws -> Answer {
            let parsed = try #require(HTTPTarget(parsing: target))
            var headers = headers
            headers.add(name: "host", value: "\(HubBench.hostName):8443")
            let request = HTTPRequest(
                method: method, target: target, path: parsed.path, query: parsed.query, headers: headers,
                body: ByteBuffer(bytes: body))
            let head = DeviceHTTPHead(backend: hub.backend, uploads: desk)
            var response = await head.respond(to: request)
            if response == nil { response = await BlobResponder(desk: desk).answer(request) }
            let answer = try #require(response)
            var bytes: [UInt8] = []
            switch answer.body {
            case .bytes(let buffer): bytes = Array(buffer.readableBytesView)
            case .stream(let stream): for await piece in stream { bytes += Array(piece.readableBytesView) }
            }
            return Answer(status: Int(answer.status.code), headers: answer.headers, body: bytes)
        }

        var own: HTTPHeaders { get throws { ["authorization": try hub.token(Self.device, key)] } }

        func begin(_ name: String) async throws -> Answer {
            let body: JSONValue = ["blobName": .string(name)]
            return try await send(.POST, "/devices/pi/files?api-version=2019-10-01", body.bytes(), headers: own)
        }

        /// The correlation id, and the target to put to.
        func begun(_ name: String) async throws -> (id: String, target: String) {
            let answer = try await begin(name)
            try #require(answer.status == 200)
            let json = try JSONValue(parsing: answer.body)
            #expect(json["hostName"]?.string == "\(HubBench.hostName):8443")
            let parts = ["containerName", "blobName", "sasToken", "correlationId"].compactMap { json[$0]?.string }
            try #require(parts.count == 4)
            return (parts[3], "/\(parts[0])/\(parts[1])\(parts[2])")
        }

        func end(_ id: String, isSuccess: Bool = true) async throws -> Int {
            let body: JSONValue = ["correlationId": .string(id), "isSuccess": .bool(isSuccess), "statusCode": 200]
            return try await send(.POST, "/devices/pi/files/notifications", body.bytes(), headers: own).status
        }

        func code(_ answer: Answer) -> String? { answer.headers.first(name: "x-ms-error-code") }
    }

    private func with(
        limits: FileStore.Limits = FileStore.Limits(), _ body: (Bench) async throws -> Void
    ) async throws {
        let hub = try await HubBench()
        var failure: (any Error)?
        do {
            let key = try await hub.register(Bench.device)
            let desk = try await FileDesk(
                registry: hub.registry, store: FileStore(folder: hub.folder + "/files", limits: limits),
                hostNames: [HubBench.hostName])
            try await body(Bench(hub: hub, desk: desk, key: key))
        } catch { failure = error }
        await hub.remove()
        if let failure { throw failure }
    }

    @Test func `A device puts a file, says so, and a service is told and reads it`() async throws {
        try await with { bench in
            let (id, target) = try await bench.begun("logs/to day&.txt")
            let content = Array("hello".utf8)
            let put = try await bench.send(.PUT, target, content, headers: ["x-ms-blob-type": "BlockBlob"])
            #expect(put.status == 201 && put.headers.first(name: "etag") != nil)
            #expect(put.headers.first(name: "last-modified")?.hasSuffix(" GMT") == true)
            #expect(try await bench.end(id) == 204)
            let held = try #require(try await bench.desk.notifications.receive())
            let told = try JSONValue(parsing: held.body.readableBytesView)
            #expect(told["deviceId"] == "pi" && told["blobName"] == "pi/logs/to day&.txt")
            #expect(told["blobSizeInBytes"] == 5)
            #expect(
                told["blobUri"]?.string
                    == "https://\(HubBench.hostName):8443/uploads/pi/logs/to%20day%26.txt")
            // It is locked, and comes again when it is given back.
            #expect(try await bench.desk.notifications.receive() == nil)
            try await bench.desk.notifications.settle(held.lockToken, .abandoned)
            let again = try #require(try await bench.desk.notifications.receive())
            #expect(again.notification.deliveries == 1)
            try await bench.desk.notifications.settle(again.lockToken, .completed)
            #expect(try await bench.desk.notifications.receive() == nil)
            let service = bench.hub.registry.policies["service"]?.primaryKey ?? ""
            let token = try SASToken.sign(
                resource: HubBench.hostName, key: service, expiry: 9_999_999_999, policy: "service")
            let read = try await bench.send(
                .GET, "/uploads/pi/logs/to%20day%26.txt", headers: ["authorization": token.text])
            #expect(read.status == 200 && read.body == content)
            let part = try await bench.send(
                .GET, "/uploads/pi/logs/to%20day%26.txt",
                headers: ["authorization": token.text, "x-ms-range": "bytes=1-3"])
            #expect(part.status == 206 && part.body == Array("ell".utf8))
            #expect(part.headers.first(name: "content-range") == "bytes 1-3/5")
            let removed = try await bench.send(
                .DELETE, "/uploads/pi/logs/to%20day%26.txt", headers: ["authorization": token.text])
            #expect(removed.status == 202)
            let gone = try await bench.send(
                .HEAD, "/uploads/pi/logs/to%20day%26.txt", headers: ["authorization": token.text])
            #expect(gone.status == 404 && bench.code(gone) == "BlobNotFound")
        }
    }

    @Test func `A file is made of the blocks of its list, in their order`() async throws {
        try await with { bench in
            let (id, target) = try await bench.begun("big")
            for (block, text) in [("QQ==", "one "), ("Qg==", "two "), ("Qw==", "never")] {
                let place = "\(target)&comp=block&blockid=\(PercentCoding.encoded(block))"
                #expect(try await bench.send(.PUT, place, Array(text.utf8)).status == 201)
            }
            let list = """
                <?xml version="1.0" encoding="utf-8"?><BlockList><Latest>Qg==</Latest><Uncommitted>QQ==</Uncommitted>
                <Latest>Qg==</Latest></BlockList>
                """
            #expect(try await bench.send(.PUT, "\(target)&comp=blocklist", Array("<BlockList>".utf8)).status == 400)
            let missing = Array("<BlockList><Latest>Wg==</Latest></BlockList>".utf8)
            #expect(try await bench.send(.PUT, "\(target)&comp=blocklist", missing).status == 400)
            #expect(try await bench.send(.PUT, "\(target)&comp=blocklist", Array(list.utf8)).status == 201)
            #expect(try await bench.send(.GET, target).body == Array("two one two ".utf8))
            #expect(try await bench.end(id) == 204)
            let left = try FileManager.default.contentsOfDirectory(atPath: bench.hub.folder + "/files/.blocks")
            #expect(left.isEmpty)
        }
    }

    @Test func `A token opens its own file only, and only while the upload is open`() async throws {
        try await with { bench in
            let (id, target) = try await bench.begun("mine")
            let (_, other) = try await bench.begun("other")
            let query = try #require(target.split(separator: "?").last)
            let stolen = try await bench.send(.PUT, "/uploads/pi/other?\(query)", [1])
            #expect(stolen.status == 403 && bench.code(stolen) == "AuthenticationFailed")
            #expect(try await bench.send(.PUT, "/uploads/another/mine?\(query)", [1]).status == 403)
            #expect(try await bench.send(.PUT, target.replacing("sig=", with: "sig=A"), [1]).status == 403)
            #expect(try await bench.send(.PUT, target.replacing("se=20", with: "se=21"), [1]).status == 403)
            #expect(try await bench.send(.PUT, "/uploads/pi/mine", [1]).status == 403)
            #expect(try await bench.send(.DELETE, target).status == 403)
            #expect(try await bench.send(.PUT, target, [1], headers: ["x-ms-blob-type": "PageBlob"]).status == 400)
            #expect(try await bench.send(.PUT, target, [1]).status == 201)
            #expect(try await bench.end(id) == 204)
            #expect(try await bench.send(.PUT, target, [2]).status == 403)
            #expect(try await bench.send(.GET, target).body == [1])
            #expect(try await bench.send(.PUT, other, [3]).status == 201)
        }
    }

    @Test func `No name leaves the folder of its device`() async throws {
        try await with { bench in
            for name in ["", "../x", "a/../b", "a//b", "/a", ".", "a/."] {
                #expect(try await bench.begin(name).status == 400, "\(name)")
            }
            for name in [".hidden", String(repeating: "%", count: 1000), "a:b\\c\u{7F}é"] {
                let (id, _) = try await bench.begun(name)
                _ = try await bench.desk.store.put(name, of: "pi", [1])
                #expect(try await bench.end(id) == 204)
            }
            let kept = try FileManager.default.contentsOfDirectory(atPath: bench.hub.folder + "/files/pi")
            #expect(kept.count == 3 && kept.allSatisfy { $0.first != "." && $0.utf8.count <= 200 })
        }
    }

    @Test func `A device has ten uploads at a time, and ends them well or not`() async throws {
        try await with { bench in
            var first = ""
            for number in 0..<FileDesk.openLimit {
                let (id, _) = try await bench.begun("file-\(number)")
                if number == 0 { first = id }
            }
            let refused = try await bench.begin("one more")
            #expect(refused.status == 403)
            #expect(String(decoding: refused.body, as: UTF8.self).contains("cannot exceed 10"))
            // It cannot have gone well without a file.
            #expect(try await bench.end(first) == 400)
            #expect(try await bench.end(first, isSuccess: false) == 204)
            #expect(try await bench.end(first, isSuccess: false) == 400)
            #expect(try await bench.begin("one more").status == 200)
            #expect(try await bench.desk.notifications.receive() == nil)
        }
    }

    @Test func `Files are held to their room, counted anew after a restart`() async throws {
        var limits = FileStore.Limits()
        (limits.file, limits.total) = (10, 25)
        try await with(limits: limits) { bench in
            let (_, a) = try await bench.begun("a")
            #expect(try await bench.send(.PUT, a, Array(repeating: 1, count: 11)).status == 413)
            for _ in 0..<5 { #expect(try await bench.send(.PUT, a, Array(repeating: 1, count: 10)).status == 201) }
            let (_, b) = try await bench.begun("b")
            #expect(
                try await bench.send(.PUT, "\(b)&comp=block&blockid=QQ", Array(repeating: 2, count: 10)).status == 201)
            let (_, c) = try await bench.begun("c")
            #expect(try await bench.send(.PUT, c, Array(repeating: 3, count: 10)).status == 503)
            let again = FileStore(folder: bench.hub.folder + "/files", limits: limits)
            await #expect(throws: HubError.self) {
                _ = try await again.put("c", of: "pi", Array(repeating: 3, count: 10))
            }
            await again.abandon("b", of: "pi")
            _ = try await again.put("c", of: "pi", Array(repeating: 3, count: 10))
        }
    }

    @Test func `Only whoever may upload a file may send a large body`() async throws {
        try await with { bench in
            let (_, target) = try await bench.begun("big")
            let larger = BlobResponder(desk: bench.desk).largerBody
            func limit(_ method: HTTPMethod, _ uri: String) -> Int? {
                larger(HTTPRequestHead(version: .http1_1, method: method, uri: uri))
            }
            #expect(limit(.PUT, target) == BlobResponder.bodyLimit)
            #expect(limit(.PUT, "\(target)&comp=block&blockid=QQ") == BlobResponder.bodyLimit)
            for (method, uri) in [
                (HTTPMethod.POST, target), (.PUT, "/uploads/pi/big"), (.PUT, "/devices/pi"), (.PUT, "/uploads/%zz"),
                (.PUT, target.replacing("pi/big", with: "pi/bigger")),
            ] { #expect(limit(method, uri) == nil) }
        }
    }

    @Test(
        arguments: [
            ("<BlockList></BlockList>", []), ("<?xml?>\n<BlockList >\n <Latest> a=</Latest>\n</BlockList>", ["a="]),
            ("<BlockList><Latest>a</Latest>", nil), ("<BlockList><Other>a</Other></BlockList>", nil), ("", nil),
            ("<BlockList><Latest>a</Late", nil), ("<BlockList", nil), ("<BlockList><", nil),
        ] as [(String, [String]?)])
    func `A list of blocks is read, and what is none is refused`(text: String, blocks: [String]?) {
        #expect(BlobCall.blocks(Array(text.utf8)) == blocks)
    }

    @Test func `A time is written as HTTP writes it`() {
        #expect(HTTPDate.text(Timestamp(milliseconds: 784_887_151_000)) == "Tue, 15 Nov 1994 08:12:31 GMT")
    }
}
