import Synchronization

/// What each device of a fleet does.
struct FleetLoad: Sendable {
    /// Messages in a second; nil for as many as go with `window` on their way.
    let rate: Double?
    let window: Int
    let size: Int
    let duration: Duration?
    let count: Int?
    let reportEvery: Duration?
    let connectRate: Int
}

/// Devices that connect one after the other, then send until their load is done.
final class SimulatedFleet: Sendable {
    private let devices: [SimulatedDevice]
    private let load: FleetLoad
    private let tally: FleetTally

    init(_ devices: [SimulatedDevice], _ load: FleetLoad) {
        self.devices = devices
        self.load = load
        tally = FleetTally(devices: devices.count)
    }

    var figures: FleetFigures { tally.figures }

    /// Returns when the load is done, or the task was cancelled and every connection has ended.
    func run() async {
        let clock = ContinuousClock()
        let gate = Gate()
        await withTaskGroup(of: Bool.self) { group in
            let start = clock.now
            for (place, device) in devices.enumerated() {
                // A rate is kept against the clock, so that late steps are made up for.
                let due = start + .seconds(Double(place) / Double(load.connectRate))
                if due > clock.now { try? await clock.sleep(until: due) }
                guard !Task.isCancelled else { break }
                group.addTask { [load, tally] in
                    await device.run(load, place: place, gate: gate, tally)
                    return true
                }
            }
            await tally.waitForConnections(of: devices.count, within: .seconds(60))
            tally.beginSending()
            gate.open()
            if let duration = load.duration {
                group.addTask {
                    try? await Task.sleep(for: duration)
                    return false
                }
            }
            var left = devices.count
            while left > 0, let isDevice = await group.next(), isDevice { left -= 1 }
            tally.endSending()
            group.cancelAll()
        }
    }
}

/// Lets everybody through once it is open.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }
}
