import HubStore
import JSONDocument
import Logging
import Model
import Synchronization

/// Carries jobs out, each from its time on; how far it came is on the disk, so that a restart goes on there.
///
/// The part of a device whose method was called when the hub was stopped begins again.
package final class JobRunner: Sendable {
    /// Jobs that run at a time.
    static let jobLimit = 10
    /// Methods that one job waits for at a time.
    static let callLimit = 200
    /// Twins in one transaction.
    static let batch = 100

    private struct State {
        var loop: Task<Void, Never>?
        var signal: AsyncStream<Void>.Continuation?
        var timer: Task<Void, Never>?
        var running: Set<String> = []
        var isEnding = false
    }

    private let registry: HubRegistry
    private let methods: any MethodInvoker
    private let sleep: @Sendable (Duration) async throws -> Void
    private let state = Mutex(State())

    init(
        registry: HubRegistry, methods: any MethodInvoker,
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) {
        self.registry = registry
        self.methods = methods
        self.sleep = sleep
    }

    /// There may be work.
    package func wake() {
        state.withLock { state in
            guard !state.isEnding else { return }
            if state.loop == nil {
                let (signals, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
                state.signal = signal
                state.loop = Task { await self.run(signals) }
            }
            state.signal?.yield()
        }
    }

    package func shutDown() async {
        let loop = state.withLock { state in
            state.isEnding = true
            state.signal?.finish()
            state.timer?.cancel()
            state.loop?.cancel()
            return state.loop
        }
        await loop?.value
    }

    private func run(_ signals: AsyncStream<Void>) async {
        await withDiscardingTaskGroup { group in
            for await _ in signals {
                for id in await due() {
                    group.addTask {
                        await self.carryOut(id)
                        self.state.withLock { _ = $0.running.remove(id) }
                        self.wake()
                    }
                }
            }
            group.cancelAll()
        }
    }

    /// The jobs to begin with now; sees to it that later ones are not forgotten.
    private func due() async -> [String] {
        let open: [(id: String, start: Timestamp)]
        do throws(HubError) {
            open = try await registry.openJobs()
        } catch {
            registry.log.warning("jobs were not read", metadata: ["error": "\(error)"])
            plan(after: .seconds(60))
            return []
        }
        let now = registry.now()
        if let next = open.first(where: { $0.start > now }) { plan(after: now.duration(to: next.start)) }
        return state.withLock { state in
            let chosen = open.filter { $0.start <= now && !state.running.contains($0.id) }
                .prefix(max(0, Self.jobLimit - state.running.count)).map(\.id)
            state.running.formUnion(chosen)
            return chosen
        }
    }

    private func plan(after wait: Duration) {
        state.withLock { state in
            state.timer?.cancel()
            guard !state.isEnding else { return }
            state.timer = Task { [sleep] in
                do { try await sleep(min(max(wait, .milliseconds(1)), .seconds(3600))) } catch { return }
                self.wake()
            }
        }
    }

    // MARK: One job

    private func carryOut(_ id: String) async {
        do throws(HubError) {
            guard var job = try await registry.beginJob(id) else { return }
            while !job.isPlanned {
                guard !Task.isCancelled, let next = try await registry.planJob(job) else { return }
                job = next
            }
            let isDone =
                switch job.kind {
                case .updateTwin: try await updateTwins(of: job)
                case .method: try await callMethods(of: job)
                }
            guard !Task.isCancelled else { return }
            try await registry.endJob(job, failure: isDone ? nil : Self.tooLong(job))
        } catch {
            registry.log.error("a job failed", metadata: ["job": "\(id)", "error": "\(error)"])
            guard let job = try? await registry.beginJob(id) else { return }
            try? await registry.endJob(job, failure: error)
        }
    }

    private static func tooLong(_ job: JobRecord) -> HubError {
        HubError(.genericTimeout, "The job had not ended after \(job.seconds) seconds.")
    }

    private func hasTime(_ job: JobRecord) -> Bool { registry.now() < job.start.after(.seconds(job.seconds)) }

    /// - Returns: false when the time was over before everything was done.
    private func updateTwins(of job: JobRecord) async throws(HubError) -> Bool {
        while !Task.isCancelled {
            guard hasTime(job) else { return false }
            guard try await registry.updateTwins(of: job, limit: Self.batch) else { return true }
        }
        return true
    }

    private func callMethods(of job: JobRecord) async throws(HubError) -> Bool {
        let call = try MethodCall(job.request["cloudToDeviceMethod"] ?? .null)
        let result: Result<Bool, HubError> = await withTaskGroup(of: HubError?.self) { group in
            var inFlight = 0
            var waiting: ArraySlice<IdentityKey> = []
            do throws(HubError) {
                while !Task.isCancelled {
                    if waiting.isEmpty, hasTime(job) {
                        waiting = try await registry.beginParts(of: job, limit: Self.callLimit - inFlight)[...]
                    }
                    while let key = waiting.popFirst() {
                        inFlight += 1
                        group.addTask { await self.call(call, on: key, of: job) }
                    }
                    guard inFlight > 0 else { return .success(hasTime(job)) }
                    if let failure = await group.next(), let failure { throw failure }
                    inFlight -= 1
                }
                return .success(true)
            } catch {
                group.cancelAll()
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func call(_ call: MethodCall, on key: IdentityKey, of job: JobRecord) async -> HubError? {
        do throws(HubError) {
            let result: Result<MethodResult, HubError>
            do throws(HubError) {
                result = .success(try await methods.invoke(call, on: key))
            } catch {
                result = .failure(error)
            }
            // A call that was broken off by the end of the hub begins again with the next start.
            guard !Task.isCancelled else { return nil }
            try await registry.endPart(of: job, key, result)
            return nil
        } catch {
            return error
        }
    }
}
