import DeviceGateway
import HubProtocol
import HubStore
import JSONDocument
import Logging
import Model
import QueryLanguage
import Synchronization

/// The way of messages into the log: decides for each whether the built-in endpoint will show it.
///
/// Without routes that is decided already and nothing is looked at. A decision that needs twins takes its turn behind
/// earlier ones, so that the order stays.
final class EventIntake: Sendable {
    typealias Completion = @Sendable (Result<Void, EventLogError>) -> Void

    private struct Waiting: Sendable {
        let runs: [EventRun]
        let plan: RoutePlan
        let completion: Completion
    }

    private let events: EventLog
    private let registry: HubRegistry
    /// Whether `plan` has to be asked about telemetry at all.
    private let looks = Atomic<Bool>(false)
    private let plan = Mutex(RoutePlan.standard)
    private let queue: AsyncStream<Waiting>.Continuation
    private let worker: Task<Void, Never>

    init(events: EventLog, registry: HubRegistry) {
        self.events = events
        self.registry = registry
        let (stream, continuation) = AsyncStream.makeStream(of: Waiting.self)
        queue = continuation
        worker = Task {
            for await waiting in stream {
                let plan = waiting.plan
                var twins = TwinReader(registry: registry)
                var marked: [EventRun] = []
                for run in waiting.runs {
                    let twin =
                        plan.needsTwin(for: RoutingDocument.builtIn, source: run.source)
                        ? await twins.twin(of: run.sender) : nil
                    Self.mark(run, by: plan, twin: twin, at: registry.now(), into: &marked)
                }
                events.append(marked, completion: waiting.completion)
            }
        }
    }

    func use(_ new: RoutePlan) {
        plan.withLock { $0 = new }
        looks.store(new.looksAtTelemetry, ordering: .releasing)
    }

    var currentPlan: RoutePlan { plan.withLock { $0 } }

    /// Whether somebody asks for events of that source.
    func wants(_ source: EventSource) -> Bool { plan.withLock { $0.wantedSources.contains(source) } }

    func append(_ runs: [EventRun], completion: @escaping Completion) {
        guard looks.load(ordering: .acquiring) || runs.contains(where: { $0.source != .telemetry }) else {
            events.append(runs, completion: completion)
            return
        }
        let plan = currentPlan
        guard !runs.contains(where: { plan.needsTwin(for: RoutingDocument.builtIn, source: $0.source) }) else {
            let result = queue.yield(Waiting(runs: runs, plan: plan, completion: completion))
            if case .enqueued = result { return }
            completion(.failure(.closed))
            return
        }
        var marked: [EventRun] = []
        let time = registry.now()
        for run in runs { Self.mark(run, by: plan, twin: nil, at: time, into: &marked) }
        events.append(marked, completion: completion)
    }

    /// Takes nothing more that needs twins; returns when what waits is handed over.
    func close() async {
        queue.finish()
        await worker.value
    }

    private static func mark(
        _ run: EventRun, by plan: RoutePlan, twin: JSONValue?, at time: Timestamp, into runs: inout [EventRun]
    ) {
        for event in run.events {
            let message = RoutableMessage(
                bag: event.propertyBag, body: event.body, sender: run.sender, source: run.source,
                time: time.ticks / 10, twin: twin)
            let isHidden = !plan.takes(message, of: run.source, for: RoutingDocument.builtIn)
            if let last = runs.indices.last, runs[last].sender === run.sender, runs[last].isHidden == isHidden,
                runs[last].source == run.source
            {
                runs[last].events.append(event)
            } else {
                runs.append(EventRun([event], source: run.source, from: run.sender, isHidden: isHidden))
            }
        }
    }
}

/// Reads twins for conditions and enrichments, each at most once for one batch.
struct TwinReader {
    let registry: HubRegistry
    private var known: [IdentityKey: JSONValue?] = [:]

    init(registry: HubRegistry) { self.registry = registry }

    /// The device's twin, or for a module its own; nil when there is none.
    mutating func twin(of sender: EventSender) async -> JSONValue? {
        let key = IdentityKey(device: sender.deviceID, module: sender.moduleID)
        if let twin = known[key] { return twin }
        var twin: JSONValue?
        if let record = try? await registry.twin(key) {
            twin = try? JSONValue(parsing: record.twin.serviceView(of: record.identity))
        }
        known[key] = .some(twin)
        return twin
    }
}
