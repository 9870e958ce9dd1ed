import JSONDocument
import NIOCore
import NIOHTTP1
import Transport

/// What an open page listens to, in one connection, since browsers open but few: changes, and messages where it shows
/// them.
///
/// Of many messages a page gets a sample and the count of all, so that neither the hub nor the browser drowns.
actor LiveStream {
    private enum Piece: Sendable {
        case change(ByteBuffer)
        case lines(ByteBuffer)
        case tick
        case end
    }

    private let pieces: AsyncStream<Piece>
    private let readers: [Task<Void, Never>]
    private var rest: [UInt8] = []
    private var allowance = LiveStream.lineLimit
    private var counted = 0

    /// Messages that a page gets between two ticks; the others are only counted.
    private static let lineLimit = 40
    private static let tick = Duration.milliseconds(500)
    /// The page connects anew then, and shows that it still may.
    private static let lifetime = 1200

    /// - Parameters:
    ///   - changes, messages: streams of the hub, `GET /changes` and `GET /events`.
    init(changes: AsyncStream<ByteBuffer>?, messages: AsyncStream<ByteBuffer>?) {
        let (pieces, continuation) = AsyncStream.makeStream(of: Piece.self, bufferingPolicy: .bufferingNewest(32))
        self.pieces = pieces
        var readers: [Task<Void, Never>] = []
        if let changes {
            readers.append(
                Task {
                    for await piece in changes { continuation.yield(.change(piece)) }
                    continuation.yield(.end)
                })
        }
        if let messages {
            readers.append(
                Task {
                    for await piece in messages { continuation.yield(.lines(piece)) }
                    continuation.yield(.end)
                })
        }
        let isTicking = messages != nil
        readers.append(
            Task {
                for _ in 0..<Self.lifetime {
                    guard (try? await Task.sleep(for: Self.tick)) != nil else { break }
                    if isTicking { continuation.yield(.tick) }
                }
                continuation.yield(.end)
            })
        self.readers = readers
    }

    deinit { for reader in readers { reader.cancel() } }

    func next() async -> ByteBuffer? {
        var iterator = pieces.makeAsyncIterator()
        while let piece = await iterator.next(isolation: self), !Task.isCancelled {
            switch piece {
            case .change(let buffer): return buffer
            case .lines(let buffer):
                let events = take(buffer)
                if events.readableBytes > 0 { return events }
            case .tick:
                let count = counted
                counted = 0
                allowance = Self.lineLimit
                return ByteBuffer(string: "event: rate\ndata: \(count)\n\n")
            case .end: return nil
            }
        }
        return nil
    }

    private func take(_ buffer: ByteBuffer) -> ByteBuffer {
        var events = ByteBuffer()
        rest.append(contentsOf: buffer.readableBytesView)
        var start = rest.startIndex
        while let end = rest[start...].firstIndex(of: 0x0A) {
            counted += 1
            if allowance > 0 {
                allowance -= 1
                events.writeString("event: message\ndata: ")
                events.writeBytes(rest[start..<end])
                events.writeString("\n\n")
            }
            start = rest.index(after: end)
        }
        rest.removeSubrange(..<start)
        return events
    }
}

extension Visit {
    /// Answers `/ui/stream`: changes of all or of one device, and with `messages` the messages as they come.
    func stream() async -> HTTPResponse {
        let device = parameter("device")
        let changes = await hub.respond(
            .GET, ["changes"], query: device.isEmpty ? [] : [(name: "device", value: device)])
        guard case .stream(let changeStream) = changes.body else { return Self.refusal(changes) }
        guard request.parameter("messages") != nil else {
            return Self.events(LiveStream(changes: changeStream, messages: nil))
        }
        let messages = await hub.respond(.GET, ["events"], query: messageSelection(follows: true))
        guard case .stream(let messageStream) = messages.body else { return Self.refusal(messages) }
        return Self.events(LiveStream(changes: changeStream, messages: messageStream))
    }

    /// A refusal as an event, since a browser shows a page nothing of an answer that is no stream.
    private static func refusal(_ response: HTTPResponse) -> HTTPResponse {
        let message = JSONValue(HubAccess.refusal(response).message).text()
        return .events(
            AsyncStream { continuation in
                continuation.yield(ByteBuffer(string: "event: refusal\ndata: \(message)\n\n"))
                continuation.finish()
            })
    }

    private static func events(_ live: LiveStream) -> HTTPResponse {
        .events(AsyncStream(unfolding: { await live.next() }))
    }

    /// The parameters of `GET /events` that this request asks for.
    func messageSelection(follows: Bool) -> [(name: String, value: String)] {
        var query = [(name: "follow", value: follows ? "true" : "false")]
        for name in ["device", "module", "where", "since"] {
            let value = parameter(name)
            if !value.isEmpty { query.append((name, value)) }
        }
        return query
    }

    /// All kept messages of the selection as lines of JSON, to keep.
    func export() async -> HTTPResponse {
        let response = await hub.respond(.GET, ["events"], query: messageSelection(follows: false))
        guard case .stream = response.body else {
            return .page(
                .badRequest,
                PageFrame.html(
                    Page(title: "Not possible", content: Notice.refusal(HubAccess.refusal(response).message)),
                    visit: self))
        }
        var headers = HTTPResponse.protection
        headers.add(name: "content-type", value: "application/x-ndjson")
        headers.add(name: "content-disposition", value: "attachment; filename=\"messages.jsonl\"")
        return HTTPResponse(status: .ok, headers: headers, body: response.body)
    }
}
