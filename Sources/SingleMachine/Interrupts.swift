import Dispatch

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Ctrl-C, or SIGTERM, or the end of the terminal.
struct Interrupted: Error {}

/// Runs `work`; a signal cancels it and throws ``Interrupted`` once it has come to rest.
///
/// The signals stay caught afterwards, so that the clean-up which follows is not cut short.
func withInterrupts<Result: Sendable>(_ work: @escaping @Sendable () async throws -> Result) async throws -> Result {
    let (signals, arrived) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let sources = [SIGINT, SIGTERM, SIGHUP].map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler { arrived.yield() }
        source.resume()
        return source
    }
    defer { for source in sources { source.cancel() } }
    return try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask { try await work() }
        group.addTask {
            for await _ in signals { throw Interrupted() }
            return nil
        }
        defer { group.cancelAll() }
        while let result = try await group.next() {
            if let result { return result }
        }
        throw CancellationError()
    }
}
