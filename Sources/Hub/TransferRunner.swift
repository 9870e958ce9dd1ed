import HubStore
import JSONDocument
import Logging
import Model
import Synchronization

/// Carries exports and imports out, one at a time; an import that was cut off goes on behind the last line that is on
/// the disk, an export begins again.
package final class TransferRunner: Sendable {
    private struct State {
        var task: Task<Void, Never>?
        var isAsked = false
        var isEnding = false
    }

    /// Lines in one transaction, or read at a time.
    private static let batch = 200

    private let registry: HubRegistry
    let folder: TransferFolder?
    private let state = Mutex(State())

    init(registry: HubRegistry, folder: TransferFolder?) {
        self.registry = registry
        self.folder = folder
    }

    /// There may be work.
    package func wake() {
        state.withLock { state in
            state.isAsked = true
            guard state.task == nil, !state.isEnding, folder != nil else { return }
            state.task = Task { await run() }
        }
    }

    package func shutDown() async {
        let task = state.withLock { state in
            state.isEnding = true
            return state.task
        }
        task?.cancel()
        await task?.value
    }

    private func run() async {
        while state.withLock({ state in
            guard state.isAsked, !state.isEnding else {
                state.task = nil
                return false
            }
            state.isAsked = false
            return true
        }) {
            do {
                while !Task.isCancelled, let folder, let record = try await registry.openTransfer() {
                    await carryOut(record, in: folder)
                }
            } catch {
                registry.log.error("exports and imports were not read", metadata: ["error": "\(error)"])
            }
        }
    }

    private func carryOut(_ record: TransferRecord, in folder: TransferFolder) async {
        let registry = registry
        var failure: String?
        do {
            _ = try await registry.changeTransfer(record.id) { $0.status = .running }
            let plan = try TransferPlan(record.request, in: folder)
            // Files are read and written on a thread of their own.
            let files = try WorkThread<@Sendable () -> Void> { { batch in for job in batch { job() } } }
            defer { files.end() }
            let isWhole =
                switch plan.direction {
                case .export: try await export(plan, record, files)
                case .importing: try await importing(plan, record, files)
                }
            guard isWhole, !Task.isCancelled else { return }
        } catch {
            guard !Task.isCancelled else { return }
            registry.log.warning("a transfer failed", metadata: ["job": "\(record.id)", "error": "\(error)"])
            failure = "\(error)"
        }
        let (reason, time) = (failure, registry.now())
        do {
            _ = try await registry.changeTransfer(record.id) { record in
                record.status = reason == nil ? .completed : .failed
                record.failure = reason
                record.ended = time
                if reason == nil { record.progress = 100 }
            }
        } catch {
            registry.log.error("the end of a transfer was not written", metadata: ["error": "\(error)"])
            // Without this the loop would begin it again at once, and again.
            try? await Task.sleep(for: .seconds(60))
        }
    }

    // MARK: Export

    /// - Returns: false when it was cancelled.
    private func export(
        _ plan: TransferPlan, _ record: TransferRecord, _ files: WorkThread<@Sendable () -> Void>
    ) async throws -> Bool {
        let writer = try await Self.on(files) { ThreadBound(try LineWriter(plan.devices)) }
        var last: IdentityKey?
        repeat {
            guard !Task.isCancelled, try await registry.changeTransfer(record.id, { _ in }) else { return false }
            let page = try await registry.exportedEntries(after: last, withKeys: plan.withKeys, limit: Self.batch)
            last = page.last
            try await Self.on(files) { for line in page.lines { try writer.value.write(line) } }
        } while last != nil
        try await Self.on(files) { try writer.value.finish() }
        guard let path = plan.configurations else { return true }
        let configurations = try await registry.configurations().map { $0.bytes() }
        try await Self.on(files) {
            let writer = try LineWriter(path)
            for line in configurations { try writer.write(line) }
            try writer.finish()
        }
        return true
    }

    // MARK: Import

    private func importing(
        _ plan: TransferPlan, _ record: TransferRecord, _ files: WorkThread<@Sendable () -> Void>
    ) async throws -> Bool {
        let done = record.lines
        let failures = try await Self.on(files) { ThreadBound(try LineWriter(plan.failures, appends: done > 0)) }
        let reader = try await Self.on(files) {
            let reader = try LineReader(plan.devices)
            var left = done
            while left > 0 {
                let count = try reader.lines(min(left, Self.batch)).count
                if count == 0 { break }
                left -= count
            }
            return ThreadBound(reader)
        }
        var bytes = 0
        while true {
            let (lines, size) = try await Self.on(files) { (try reader.value.lines(Self.batch), reader.value.size) }
            if lines.isEmpty { break }
            bytes += lines.reduce(0) { $0 + $1.count + 1 }
            guard !Task.isCancelled,
                let wrong = try await registry.importEntries(
                    lines, of: record.id, progress: min(99, bytes * 100 / max(size, 1)))
            else { return false }
            try await Self.on(files) {
                for failure in wrong { try failures.value.write(JSONValue.object(failure).bytes()) }
            }
        }
        if let path = plan.configurations {
            let lines = try await Self.on(files) { try LineReader(path).lines(10_000) }
            for (number, line) in lines.enumerated() where line.contains(where: { $0 != 0x20 }) {
                guard let error = await importConfiguration(line) else { continue }
                try await Self.on(files) {
                    try failures.value.write(
                        JSONValue.object([
                            "configurationLine": JSONValue(number + 1), "errorCode": .string(error.code.name),
                            "errorStatus": .string(error.message),
                        ]).bytes())
                }
            }
        }
        try await Self.on(files) { try failures.value.finish() }
        return true
    }

    private func importConfiguration(_ line: [UInt8]) async -> HubError? {
        do throws(HubError) {
            guard let body = try? JSONValue(parsing: line), let id = body["id"]?.string else {
                throw HubError(.iotHubFormatError, "The line is no configuration.")
            }
            switch body["importMode"]?.string?.lowercased() {
            case "delete"?: try await registry.deleteConfiguration(id, condition: .any)
            case "create"?: _ = try await registry.putConfiguration(id, body, condition: .none)
            case "update"?: _ = try await registry.putConfiguration(id, body, condition: .any)
            default:
                do throws(HubError) {
                    _ = try await registry.putConfiguration(id, body, condition: .none)
                } catch {
                    guard error.code == .configurationAlreadyExists else { throw error }
                    _ = try await registry.putConfiguration(id, body, condition: .any)
                }
            }
            return nil
        } catch {
            return error
        }
    }

    private static func on<Result: Sendable>(
        _ thread: WorkThread<@Sendable () -> Void>, _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let taken = thread.submit { continuation.resume(with: Swift.Result { try body() }) }
            if !taken { continuation.resume(throwing: HubDatabaseClosed()) }
        }
    }
}

/// A value that is used on one thread only.
// Unchecked, and safe: it is made, used and dropped by jobs of one `WorkThread`, which run one after the other.
private struct ThreadBound<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
