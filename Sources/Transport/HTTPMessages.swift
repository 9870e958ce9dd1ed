package import NIOCore
package import NIOHTTP1

/// A request as the services see it, with its whole body.
package struct HTTPRequest: Sendable {
    package var method: HTTPMethod
    /// The request target as it was sent.
    package var target: String
    /// The segments of the path, each percent-decoded once; `+` stays a plus.
    package var path: [String]
    /// The query's parameters in order, percent-decoded; a parameter without `=` has an empty value.
    package var query: [(name: String, value: String)]
    package var headers: HTTPHeaders
    /// Never larger than the listener's limit.
    package var body: ByteBuffer
    package var peer: HTTPPeer

    package init(
        method: HTTPMethod, target: String, path: [String], query: [(name: String, value: String)] = [],
        headers: HTTPHeaders = [:], body: ByteBuffer = ByteBuffer(), peer: HTTPPeer = HTTPPeer()
    ) {
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.peer = peer
    }

    /// The first parameter of that name, compared without case.
    package func parameter(_ name: String) -> String? {
        query.first { $0.name.lowercased() == name.lowercased() }?.value
    }
}

/// Who is at the other end of the connection.
package struct HTTPPeer: Sendable {
    /// `address:port`, or empty on a unix socket.
    package var address: String
    /// The client's certificate chain in DER, leaf first; empty without one.
    package var certificates: [[UInt8]]
    /// The process at the other end of a unix socket.
    package var processID: Int32?
    package var userID: UInt32?

    package init(address: String = "", certificates: [[UInt8]] = [], processID: Int32? = nil, userID: UInt32? = nil) {
        self.address = address
        self.certificates = certificates
        self.processID = processID
        self.userID = userID
    }
}

package struct HTTPResponse: Sendable {
    package enum Body: Sendable {
        case bytes(ByteBuffer)
        /// Sent chunk by chunk as it comes; the stream is dropped when the peer leaves.
        case stream(AsyncStream<ByteBuffer>)
    }

    package var status: HTTPResponseStatus
    package var headers: HTTPHeaders
    package var body: Body

    package init(status: HTTPResponseStatus, headers: HTTPHeaders = [:], body: Body = .bytes(ByteBuffer())) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// Answers requests; one responder serves all connections of a listener.
package protocol HTTPResponder: Sendable {
    /// Whatever goes wrong becomes a response: a responder does not throw.
    func respond(to request: HTTPRequest) async -> HTTPResponse
}
