import JSONDocument
import NIOCore

/// Cuts a stream of JSON texts, one a line, that may break anywhere.
struct JSONLines {
    private var rest = ByteBuffer()
    /// A longer line is an error, so that a broken engine cannot fill our memory.
    static let longestLine = 4 << 20

    mutating func read(_ chunk: ByteBuffer) throws(EngineError) -> [JSONValue] {
        rest.writeImmutableBuffer(chunk)
        var values: [JSONValue] = []
        while let length = rest.readableBytesView.firstIndex(of: 0x0A).map({ $0 - rest.readerIndex }) {
            guard let line = rest.readSlice(length: length) else { break }
            rest.moveReaderIndex(forwardBy: 1)
            if let value = try value(line) { values.append(value) }
        }
        guard rest.readableBytes <= Self.longestLine else {
            throw EngineError(.badAnswer, "the engine sent a line of more than \(Self.longestLine) bytes")
        }
        if rest.readableBytes == 0 { rest.clear() } else if rest.readerIndex > 1 << 16 { rest.discardReadBytes() }
        return values
    }

    /// What is left when the stream has ended without a line end.
    mutating func end() throws(EngineError) -> JSONValue? {
        defer { rest.clear() }
        return try value(rest)
    }

    private func value(_ line: ByteBuffer) throws(EngineError) -> JSONValue? {
        guard line.readableBytesView.contains(where: { $0 > 0x20 }) else { return nil }
        do {
            return try JSONValue(parsing: line.readableBytesView)
        } catch {
            throw EngineError(.badAnswer, "the engine sent a line that is no JSON: \(error)")
        }
    }
}
