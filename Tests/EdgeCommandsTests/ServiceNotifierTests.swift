import Foundation
import Synchronization
import Testing

@testable import EdgeCommands

/// What systemd is told, on a socket of our own.
@Suite(.timeLimit(.minutes(5)))
struct ServiceNotifierTests {
    /// Runs a test with a socket as systemd opens it, and the path to it.
    private func withSocket(_ body: (_ path: String, _ receive: () -> String) async throws -> Void) async throws {
        let path = "/tmp/notify-\(UUID().uuidString.prefix(8))"
        let socket = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer {
            close(socket)
            unlink(path)
        }
        var place = sockaddr_un()
        place.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &place.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: place) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0)
        try await body(path) {
            var bytes = [UInt8](repeating: 0, count: 200)
            let count = recv(socket, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        }
    }

    @Test func `systemd is told of start, life and end`() async throws {
        try await withSocket { path, receive in
            let notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3600000000"])
            #expect(notifier.interval == .seconds(1800))
            notifier.ready()
            #expect(receive() == "READY=1\n")
            let (answered, answer) = AsyncStream.makeStream(of: Void.self)
            let keeping = Task { await notifier.keepAlive { answer.finish() } }
            for await _ in answered {}
            var told = ""
            while told.isEmpty {
                told = receive()
                await Task.yield()
            }
            #expect(told == "WATCHDOG=1\n")
            keeping.cancel()
            await keeping.value
            notifier.stopping()
            #expect(receive() == "STOPPING=1\n")
        }
    }

    @Test func `Without systemd nothing is told, and a watchdog of somebody else is none`() async {
        let none = ServiceNotifier(environment: [:])
        none.ready()
        #expect(none.interval == nil)
        await none.keepAlive {}
        let other = ServiceNotifier(
            environment: ["NOTIFY_SOCKET": "/tmp/none", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"], processID: 2)
        #expect(other.interval == nil)
    }
}
