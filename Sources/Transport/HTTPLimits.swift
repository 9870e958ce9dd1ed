package import NIOCore
package import NIOHTTP1

/// What one HTTP listener allows; everything a peer can send or hold open is bounded by one of these.
package struct HTTPLimits: Sendable {
    /// Bytes of a request's body; more is answered 413.
    package var body: Int
    /// Bytes that the body of a request may hold beyond `body`, which its head alone has to earn; nil for none.
    package var largerBody: (@Sendable (HTTPRequestHead) -> Int?)?
    /// Bytes of all header names and values of a request.
    package var headers: Int
    package var connections: Int
    /// How long a connection may stand without a request, and how long a request's head may take.
    package var idle: TimeAmount
    /// How long a request's body may take at the start; it gets a second more for each `slowestRate` bytes that came.
    package var bodyTime: TimeAmount
    /// Bytes per second below which a sender is too slow.
    package var slowestRate: Int
    /// How long a peer may leave a piece of a response unread.
    package var writeStall: TimeAmount

    package init(
        body: Int = 1 << 20, headers: Int = 64 * 1024, connections: Int = 20_000, idle: TimeAmount = .seconds(65),
        bodyTime: TimeAmount = .seconds(30), slowestRate: Int = 4096, writeStall: TimeAmount = .seconds(30)
    ) {
        self.body = body
        self.headers = headers
        self.connections = connections
        self.idle = idle
        self.bodyTime = bodyTime
        self.slowestRate = slowestRate
        self.writeStall = writeStall
    }
}
