import JSONDocument
package import NIOCore

/// A piece of what a container wrote.
package struct ContainerOutput: Sendable, Equatable {
    package enum Stream: UInt8, Sendable { case standardOutput = 1, standardError = 2 }

    package let stream: Stream
    package let bytes: ByteBuffer
}

/// Which part of a container's log is wanted.
package struct LogSelection: Sendable {
    /// Goes on with what is written later, until the container stops.
    package var follow = false
    /// The newest lines only; nil for all.
    package var tail: Int?
    /// Unix seconds, with a fraction if wanted (`1700000000.123456789`), or RFC 3339.
    package var since: String?
    package var until: String?
    /// Begins each line with its time.
    package var timestamps = false

    package init(
        follow: Bool = false, tail: Int? = nil, since: String? = nil, until: String? = nil, timestamps: Bool = false
    ) {
        self.follow = follow
        self.tail = tail
        self.since = since
        self.until = until
        self.timestamps = timestamps
    }
}

extension DockerEngine {
    /// Hands over what a container wrote, in pieces as they come; a piece need not end with a line.
    package func logs(
        of container: String, _ selection: LogSelection = LogSelection(),
        deliver: (ContainerOutput) async -> Void
    ) async throws(EngineError) {
        let hasTerminal = try await inspectContainer(container).hasTerminal
        var query = [
            (name: "stdout", value: "true"), (name: "stderr", value: "true"),
            (name: "follow", value: "\(selection.follow)"), (name: "timestamps", value: "\(selection.timestamps)"),
            (name: "tail", value: selection.tail.map(String.init) ?? "all"),
        ]
        if let since = selection.since { query.append(("since", since)) }
        if let until = selection.until { query.append(("until", until)) }
        let response = try await send(
            EngineRequest(path: "/containers/\(percentEncoded(container))/logs", query: query, timeout: nil))
        var frames = LogFrames()
        try await stream(response) { chunk throws(EngineError) in
            if hasTerminal {
                await deliver(ContainerOutput(stream: .standardOutput, bytes: chunk))
            } else {
                for output in try frames.read(chunk) { await deliver(output) }
            }
        }
    }

    /// The log as one text; of more than `limit` bytes the newest are kept.
    package func logText(
        of container: String, _ selection: LogSelection = LogSelection(), limit: Int = 1 << 20
    ) async throws(EngineError) -> String {
        var collected = ByteBuffer()
        try await logs(of: container, selection) { output in
            collected.writeImmutableBuffer(output.bytes)
            if collected.readableBytes > 2 * limit {
                collected.moveReaderIndex(forwardBy: collected.readableBytes - limit)
                collected.discardReadBytes()
            }
        }
        if collected.readableBytes > limit { collected.moveReaderIndex(forwardBy: collected.readableBytes - limit) }
        return String(decoding: collected.readableBytesView, as: UTF8.self)
    }
}

/// Takes apart the frames in which the engine sends the output of a container without a terminal: eight bytes
/// (stream, three zeroes, length), then the bytes. Hands on what has come and keeps nothing but a broken header.
struct LogFrames {
    private var header = ByteBuffer()
    private var missing = 0
    private var stream = ContainerOutput.Stream.standardOutput

    mutating func read(_ chunk: ByteBuffer) throws(EngineError) -> [ContainerOutput] {
        var chunk = chunk
        var result: [ContainerOutput] = []
        while chunk.readableBytes > 0 {
            if missing == 0 {
                if var part = chunk.readSlice(length: min(8 - header.readableBytes, chunk.readableBytes)) {
                    header.writeBuffer(&part)
                }
                guard header.readableBytes == 8 else { break }
                guard let kind = header.readInteger(as: UInt8.self), kind <= 2, let zero = header.readBytes(length: 3),
                    zero == [0, 0, 0], let length = header.readInteger(as: UInt32.self)
                else { throw EngineError(.badAnswer, "the engine sent a broken log frame") }
                stream = kind == 2 ? .standardError : .standardOutput
                missing = Int(length)
                header.clear()
            } else if let bytes = chunk.readSlice(length: min(missing, chunk.readableBytes)) {
                missing -= bytes.readableBytes
                result.append(ContainerOutput(stream: stream, bytes: bytes))
            }
        }
        return result
    }
}
