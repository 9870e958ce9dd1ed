import Dispatch
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// SIGTERM, SIGINT and SIGHUP as an event: whoever serves waits for the first one and then ends in an orderly way.
package final class EndSignals: Sendable {
    private let stream: AsyncStream<Void>
    private let sources: Mutex<[any DispatchSourceSignal]>

    /// From here on the signals no longer end the process by themselves.
    package init() {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        self.stream = stream
        var sources: [any DispatchSourceSignal] = []
        for number in [SIGTERM, SIGINT, SIGHUP] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { continuation.yield() }
            source.resume()
            sources.append(source)
        }
        self.sources = Mutex(sources)
    }

    /// Returns when the first signal has come.
    package func wait() async {
        for await _ in stream { return }
    }
}
