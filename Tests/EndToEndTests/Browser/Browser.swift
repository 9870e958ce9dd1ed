import Foundation
import JSONDocument
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A headless Chromium that is driven with the DevTools protocol over a pipe, which has no port to find and ends the browser
/// with the test, however the test ends.
final class Browser: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private struct State {
        var next = 1
        var waiting: [Int: CheckedContinuation<JSONValue, any Error>] = [:]
        var listeners: [String: @Sendable (_ method: String, _ parameters: JSONValue) -> Void] = [:]
        var hasEnded = false
    }

    private let state = Mutex(State())
    private let process: Mutex<Process>
    private let input: Mutex<FileHandle>

    /// - Parameter folder: for the profile and the browser's own log.
    init(in folder: String) throws {
        // A browser that died is an error of a test, and not the end of all of them.
        signal(SIGPIPE, SIG_IGN)
        let switches = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
            "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
            "--disable-background-timer-throttling", "--hide-scrollbars", "--lang=en-GB",
            // The hub's certificate is of its own authority.
            "--ignore-certificate-errors", "--user-data-dir=\(folder)/profile", "--remote-debugging-pipe",
        ]
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments =
            ["-c", "LD_PRELOAD=$HEDGEROW_PRELOAD exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "chromium"]
            + switches + ["about:blank"]
        process.environment = ProcessInfo.processInfo.environment.merging(
            ["HOME": folder, "TZ": "UTC", "HEDGEROW_PRELOAD": try QuietNetworks.library(in: folder)]
        ) { $1 }
        let (toBrowser, fromBrowser) = (Pipe(), Pipe())
        process.standardInput = toBrowser
        process.standardOutput = fromBrowser
        let log = URL(fileURLWithPath: "\(folder)/chromium.log")
        try Data().write(to: log)
        process.standardError = try FileHandle(forWritingTo: log)
        try process.run()
        self.process = Mutex(process)
        input = Mutex(toBrowser.fileHandleForWriting)
        let output = fromBrowser.fileHandleForReading
        Thread.detachNewThread { [weak self] in
            var rest = Data()
            while case let more = output.availableData, !more.isEmpty {
                rest.append(more)
                while let end = rest.firstIndex(of: 0) {
                    self?.take(rest[rest.startIndex..<end])
                    rest = Data(rest[(end + 1)...])
                }
            }
            self?.end()
        }
    }

    /// Ends the browser and waits until it is gone.
    func close() {
        input.withLock { try? $0.close() }
        process.withLock { process in
            guard process.isRunning else { return }
            process.terminate()
            process.waitUntilExit()
        }
    }

    /// - Parameter session: of a page; nil for the browser as a whole.
    /// - Returns: the result of the command.
    @discardableResult
    func call(_ method: String, _ parameters: JSONValue = [:], session: String? = nil) async throws -> JSONValue {
        try await withCheckedThrowingContinuation { continuation in
            let id = state.withLock { state -> Int? in
                guard !state.hasEnded else { return nil }
                defer { state.next += 1 }
                state.waiting[state.next] = continuation
                return state.next
            }
            guard let id else {
                continuation.resume(throwing: Failure(description: "the browser has ended"))
                return
            }
            var message: JSONObject = ["id": JSONValue(id), "method": .string(method), "params": parameters]
            message["sessionId"] = session.map { .string($0) }
            let bytes = Data(JSONValue.object(message).bytes() + [0])
            do {
                try input.withLock { try $0.write(contentsOf: bytes) }
            } catch {
                state.withLock { $0.waiting.removeValue(forKey: id) }?.resume(throwing: error)
            }
        }
    }

    /// - Parameter listener: called for each event of the session, one at a time.
    func listen(to session: String, _ listener: @escaping @Sendable (String, JSONValue) -> Void) {
        state.withLock { $0.listeners[session] = listener }
    }

    private func take(_ bytes: Data) {
        guard let message = try? JSONValue(parsing: Array(bytes)) else { return }
        if let id = message["id"]?.int {
            let waiting = state.withLock { $0.waiting.removeValue(forKey: id) }
            if let error = message["error"] {
                waiting?.resume(throwing: Failure(description: error["message"]?.string ?? error.text()))
            } else {
                waiting?.resume(returning: message["result"] ?? .null)
            }
        } else if let session = message["sessionId"]?.string, let method = message["method"]?.string {
            let listener = state.withLock { $0.listeners[session] }
            listener?(method, message["params"] ?? .null)
        }
    }

    private func end() {
        let waiting = state.withLock { state in
            state.hasEnded = true
            defer { state.waiting = [:] }
            return state.waiting.values.map { $0 }
        }
        for continuation in waiting { continuation.resume(throwing: Failure(description: "the browser has ended")) }
    }
}
