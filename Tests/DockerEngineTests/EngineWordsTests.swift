import JSONDocument
import NIOCore
import Testing

@testable import DockerEngine

struct EngineWordsTests {
    @Test(
        arguments: [
            ("probe", nil, "probe", nil, nil, "probe:latest"),
            ("team/probe:7", nil, "team/probe", "7", nil, "team/probe:7"),
            (
                "registry.lan:5000/probe", "registry.lan:5000", "registry.lan:5000/probe", nil, nil,
                "registry.lan:5000/probe:latest"
            ),
            ("localhost/a/b:1", "localhost", "localhost/a/b", "1", nil, "localhost/a/b:1"),
            ("a.b/c:2@sha256:ff", "a.b", "a.b/c", "2", "sha256:ff", "a.b/c:2@sha256:ff"),
        ] as [(String, String?, String, String?, String?, String)])
    func `An image name is taken apart`(
        text: String, registry: String?, repository: String, tag: String?, digest: String?, normalized: String
    ) {
        let reference = ImageReference(text)
        #expect(reference.registry == registry)
        #expect(reference.repository == repository)
        #expect(reference.tag == tag)
        #expect(reference.digest == digest)
        #expect(reference.normalized == normalized)
    }

    @Test func `Addresses are read, and others refused with what is expected`() throws {
        #expect(try EngineEndpoint(parsing: "unix:///a/b.sock").address == .socket(path: "/a/b.sock"))
        #expect(try EngineEndpoint(parsing: "tcp://host:99").address == .network(host: "host", port: 99))
        #expect(try EngineEndpoint(parsing: "http://host/").address == .network(host: "host", port: 2375))
        for bad in ["", "host", "ssh://host", "unix://relative", "tcp://:9", "tcp://h:0", "tcp://h:x"] {
            #expect(throws: EngineError.self) { try EngineEndpoint(parsing: bad) }
        }
    }

    @Test(arguments: [1, 3, 7, 100]) func `Log frames may break anywhere`(size: Int) throws {
        var bytes: [UInt8] = []
        for (stream, text) in [(1, "one\n"), (2, "two"), (1, ""), (1, "three\n")] as [(UInt8, String)] {
            bytes += [stream, 0, 0, 0, 0, 0, 0, UInt8(text.utf8.count)] + Array(text.utf8)
        }
        var frames = LogFrames()
        var texts: [ContainerOutput.Stream: String] = [:]
        var rest = ByteBuffer(bytes: bytes)
        while let chunk = rest.readSlice(length: min(size, rest.readableBytes)), chunk.readableBytes > 0 {
            for output in try frames.read(chunk) { texts[output.stream, default: ""] += String(buffer: output.bytes) }
        }
        #expect(texts == [.standardOutput: "one\nthree\n", .standardError: "two"])
    }

    @Test func `A broken log frame is an error`() {
        var frames = LogFrames()
        #expect(throws: EngineError.self) { try frames.read(ByteBuffer(string: "no frame at all")) }
    }

    @Test(arguments: [1, 4, 50]) func `JSON lines may break anywhere`(size: Int) throws {
        var lines = JSONLines()
        var values: [JSONValue] = []
        var rest = ByteBuffer(string: "{\"a\":1}\r\n\n[2]\n{\"b\":\"ä\"}")
        while let chunk = rest.readSlice(length: min(size, rest.readableBytes)), chunk.readableBytes > 0 {
            values += try lines.read(chunk)
        }
        if let last = try lines.end() { values.append(last) }
        #expect(values == [["a": 1], [2], ["b": "ä"]])
    }

    @Test func `A credential shows no password, and its header is what the engine reads`() {
        let credential = RegistryCredential(address: "r:1", userName: "u", password: "p>>??")
        #expect(!"\(credential)".contains("p>>"))
        #expect(credential.header == "eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InA-Pj8_Iiwic2VydmVyYWRkcmVzcyI6InI6MSJ9")
    }

    @Test func `A tar entry with a long name is preceded by the name`() {
        var tar = ByteBuffer()
        TarWriter.write(file: String(repeating: "a", count: 150), "x".utf8, to: &tar)
        #expect(tar.readableBytes == 4 * 512)
        #expect(tar.getString(at: 512, length: 150) == String(repeating: "a", count: 150))
    }
}
