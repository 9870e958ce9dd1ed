import Logging
import NIOCore
import NIOHTTP1
import NIOWebSocket

/// Collects requests, asks the responder, and writes its answers; one for each connection.
///
/// `HTTPServerPipelineHandler` before it lets one request through at a time and stops reading meanwhile.
final class HTTPConnectionHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        case idle
        case receiving(HTTPRequestHead, body: ByteBuffer, began: NIODeadline)
        /// The rest of a request that was refused already is dropped; the connection then closes.
        case discarding
        case responding(Task<Void, Never>, closesAfter: Bool)
        case closed
    }

    private let responder: any HTTPResponder
    private let facts: ConnectionFacts
    private let limits: HTTPLimits
    private let webSockets: [WebSocketEndpoint]
    private let logger: Logger
    private var state = State.idle
    /// Of the present request.
    private var bodyLimit = 0
    private var deadline = NIODeadline.distantFuture
    private var timer: Scheduled<Void>?

    init(
        responder: any HTTPResponder, facts: ConnectionFacts, limits: HTTPLimits, webSockets: [WebSocketEndpoint],
        logger: Logger
    ) {
        self.responder = responder
        self.facts = facts
        self.limits = limits
        self.webSockets = webSockets
        self.logger = logger
    }

    func handlerAdded(context: ChannelHandlerContext) {
        setDeadline(.now() + limits.idle, context: context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    private func end() {
        timer?.cancel()
        timer = nil
        if case .responding(let task, _) = state { task.cancel() }
        state = .closed
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The upgrade handler tells of a refused upgrade this way; the request then arrives as any other.
        if error is NIOWebSocketUpgradeError { return }
        logger.debug("connection failed", metadata: ["peer": "\(facts.peerAddress)", "error": "\(error)"])
        context.close(promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (Self.unwrapInboundIn(data), state) {
        case (.head(let head), .idle): begin(head, context: context)
        case (.body(let part), .receiving(let head, var body, let began)):
            guard body.readableBytes + part.readableBytes <= bodyLimit else {
                refuse(.payloadTooLarge, "The body is larger than \(bodyLimit) bytes.", context: context)
                return
            }
            // The buffer must be held in one place only, or appending copies it.
            state = .idle
            if body.readableBytes == 0 { body = part } else { body.writeImmutableBuffer(part) }
            let allowance = TimeAmount.seconds(Int64(body.readableBytes / max(1, limits.slowestRate)))
            state = .receiving(head, body: body, began: began)
            setDeadline(began + limits.bodyTime + allowance, context: context)
        case (.end, .receiving(let head, let body, _)): respond(to: head, body: body, context: context)
        default: break
        }
    }

    private func begin(_ head: HTTPRequestHead, context: ChannelHandlerContext) {
        let length = head.headers.first(name: "content-length").flatMap(Int.init) ?? 0
        bodyLimit = limits.body
        if let larger = limits.largerBody?(head) { bodyLimit = max(bodyLimit, larger) }
        guard length <= bodyLimit else {
            refuse(.payloadTooLarge, "The body is larger than \(bodyLimit) bytes.", context: context)
            return
        }
        let now = NIODeadline.now()
        state = .receiving(head, body: ByteBuffer(), began: now)
        setDeadline(now + limits.bodyTime, context: context)
        if head.version == .http1_1, head.headers.first(name: "expect")?.lowercased() == "100-continue" {
            context.writeAndFlush(
                Self.wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
        }
    }

    private func refuse(_ status: HTTPResponseStatus, _ sentence: String, context: ChannelHandlerContext) {
        state = .discarding
        let body = ByteBuffer(string: sentence + "\n")
        let head = HTTPResponseHead(
            version: .http1_1, status: status,
            headers: [
                "content-length": "\(body.readableBytes)", "content-type": "text/plain; charset=utf-8",
                "connection": "close",
            ])
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil))).assumeIsolated().whenComplete { _ in
            context.close(promise: nil)
        }
    }

    private func respond(to head: HTTPRequestHead, body: ByteBuffer, context: ChannelHandlerContext) {
        guard let target = HTTPTarget(parsing: head.uri) else {
            refuse(.badRequest, "The request target is malformed.", context: context)
            return
        }
        if !webSockets.isEmpty, WebSocketUpgrade.isAsked(in: head), WebSocketUpgrade.match(head, in: webSockets) == nil
        {
            let names = webSockets.map(\.subprotocol).joined(separator: ", ")
            refuse(.badRequest, "No such WebSocket; the sub-protocols are \(names).", context: context)
            return
        }
        let request = HTTPRequest(
            method: head.method, target: head.uri, path: target.path, query: target.query, headers: head.headers,
            body: body, peer: facts.peer(of: context.channel))
        deadline = .distantFuture
        let responder = responder
        let writer = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        let omitsBody = head.method == .HEAD
        let task = Task {
            let response = await responder.respond(to: request)
            switch response.body {
            case .bytes(let bytes):
                eventLoop.execute {
                    let (handler, context) = writer.value
                    handler.write(response, bytes: bytes, omitsBody: omitsBody, context: context)
                }
            case .stream(let stream):
                do {
                    try await eventLoop.submit {
                        let (handler, context) = writer.value
                        handler.startStream(response, context: context)
                    }.get()
                    if !omitsBody {
                        for await chunk in stream where chunk.readableBytes > 0 {
                            try await eventLoop.flatSubmit {
                                let (handler, context) = writer.value
                                return handler.writeChunk(chunk, context: context)
                            }.get()
                        }
                    }
                    eventLoop.execute {
                        let (handler, context) = writer.value
                        handler.finish(context: context)
                    }
                } catch {
                    // The peer has left; the stream is dropped with this task.
                }
            }
        }
        state = .responding(task, closesAfter: !head.isKeepAlive)
    }

    private func write(_ response: HTTPResponse, bytes: ByteBuffer, omitsBody: Bool, context: ChannelHandlerContext) {
        guard case .responding(_, let closesAfter) = state else { return }
        var headers = response.headers
        let mayHaveBody = response.status.mayHaveResponseBody
        if mayHaveBody, !(omitsBody && headers.contains(name: "content-length")) {
            headers.replaceOrAdd(name: "content-length", value: String(bytes.readableBytes))
        }
        if closesAfter { headers.replaceOrAdd(name: "connection", value: "close") }
        let head = HTTPResponseHead(version: .http1_1, status: response.status, headers: headers)
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        if mayHaveBody, !omitsBody, bytes.readableBytes > 0 {
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(bytes))), promise: nil)
        }
        finish(context: context)
    }

    private func startStream(_ response: HTTPResponse, context: ChannelHandlerContext) {
        guard case .responding(_, let closesAfter) = state else { return }
        var headers = response.headers
        if closesAfter { headers.replaceOrAdd(name: "connection", value: "close") }
        let head = HTTPResponseHead(version: .http1_1, status: response.status, headers: headers)
        context.writeAndFlush(Self.wrapOutboundOut(.head(head)), promise: nil)
    }

    private func writeChunk(_ chunk: ByteBuffer, context: ChannelHandlerContext) -> EventLoopFuture<Void> {
        guard case .responding = state else {
            return context.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel)
        }
        setDeadline(.now() + limits.writeStall, context: context)
        let written = context.writeAndFlush(Self.wrapOutboundOut(.body(.byteBuffer(chunk))))
        written.assumeIsolated().whenSuccess {
            if case .responding = self.state { self.deadline = .distantFuture }
        }
        return written
    }

    private func finish(context: ChannelHandlerContext) {
        guard case .responding(_, let closesAfter) = state else { return }
        // The end of the response lets the next pipelined request through at once, so the state is set before it.
        state = closesAfter ? .discarding : .idle
        setDeadline(.now() + limits.writeStall, context: context)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil))).assumeIsolated().whenComplete { _ in
            if closesAfter {
                context.close(promise: nil)
            } else if case .idle = self.state {
                self.setDeadline(.now() + self.limits.idle, context: context)
            }
        }
    }

    /// One timer a connection: it looks at the deadline when it fires and is set again when that has moved.
    private func setDeadline(_ new: NIODeadline, context: ChannelHandlerContext) {
        if case .closed = state { return }
        let old = deadline
        deadline = new
        guard timer == nil || new < old else { return }
        timer?.cancel()
        schedule(context: context)
    }

    private func schedule(context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.timer = nil
            if case .closed = self.state { return }
            if self.deadline <= .now() {
                self.logger.debug("connection was too slow", metadata: ["peer": "\(self.facts.peerAddress)"])
                context.close(promise: nil)
            } else if self.deadline < .distantFuture {
                self.schedule(context: context)
            }
        }
    }
}

extension HTTPResponseStatus {
    /// 1xx, 204 and 304 never have a body (RFC 9110, section 6.4.1).
    fileprivate var mayHaveResponseBody: Bool {
        code >= 200 && code != 204 && code != 304
    }
}
