import Testing

@testable import ModuleReconciling

/// A device whose engine does at once what it is told, in a time that only moves when a test says so.
private struct Device {
    var facts: ReconcilingFacts
    private var serial = 0

    init(_ modules: [ModuleSpecification], pulled: Bool = true) {
        facts = ReconcilingFacts(wanted: [], now: WallTime(milliseconds: 1_000_000_000_000))
        want(modules, pulled: pulled)
    }

    mutating func want(_ modules: [ModuleSpecification], pulled: Bool = true) {
        facts.wanted = modules.map { WantedModule($0, fingerprint: Self.fingerprint($0)) }
        for module in modules where pulled { facts.images[module.image] = .ready }
    }

    static func fingerprint(_ module: ModuleSpecification) -> ContainerFingerprint {
        ContainerFingerprint(
            module,
            ContainerSurroundings(
                deviceID: "d", hubHostName: "h", gatewayHostName: "g", gatewayAddress: nil, generationID: "1",
                workloadFolder: "/w", networkName: "n"))
    }

    mutating func pass(_ seconds: Int) { facts.now = facts.now.advanced(seconds: seconds) }

    /// Decides, and does all steps but pulls.
    @discardableResult
    mutating func turn() -> ReconcilingPlan {
        let plan = facts.plan()
        facts.histories = plan.histories
        for step in plan.steps { perform(step) }
        return plan
    }

    /// Turns until there is nothing to do but wait; gives all steps in order.
    mutating func settle() -> [ReconcilingStep] {
        var steps: [ReconcilingStep] = []
        for _ in 0..<50 {
            let plan = turn()
            if plan.steps.allSatisfy({ $0.module == nil }) { return steps + plan.steps }
            steps += plan.steps
        }
        Issue.record("the plan never settles: \(steps.suffix(4))")
        return steps
    }

    private mutating func perform(_ step: ReconcilingStep) {
        switch step {
        case .pull: break
        case .create(let module):
            guard let wanted = facts.wanted.first(where: { $0.specification.name == module }) else { return }
            serial += 1
            facts.containers[module, default: []].append(
                ContainerFacts(id: "\(module)\(serial)", name: module, fingerprint: wanted.fingerprint, state: .created)
            )
        case .start(let module, let id, _), .restart(let module, let id):
            let now = facts.now
            change(module, id) {
                $0.state = .running
                $0.startedAt = now
                $0.health = nil
                $0.unhealthySince = nil
            }
        case .stop(let module, let id): end(module, id, code: 0)
        case .remove(let module, let id): facts.containers[module]?.removeAll { $0.id == id }
        }
    }

    private mutating func change(_ module: String, _ id: String, _ change: (inout ContainerFacts) -> Void) {
        guard let place = facts.containers[module]?.firstIndex(where: { $0.id == id }) else { return }
        var container = facts.containers[module, default: []][place]
        change(&container)
        facts.containers[module, default: []][place] = container
    }

    private mutating func end(_ module: String, _ id: String, code: Int) {
        let now = facts.now
        change(module, id) {
            $0.state = .exited
            $0.exitCode = code
            $0.finishedAt = now
        }
    }

    mutating func die(_ module: String, code: Int) {
        for container in facts.containers[module] ?? [] { end(module, container.id, code: code) }
    }

    mutating func becomeUnhealthy(_ module: String) {
        let now = facts.now
        for container in facts.containers[module] ?? [] {
            change(module, container.id) {
                $0.health = .unhealthy
                $0.unhealthySince = now
            }
        }
    }

    mutating func lose(_ module: String) {
        facts.containers[module] = nil
        facts.histories[module, default: ModuleHistory()].lostAt = facts.now
    }

    func running() -> [String] {
        facts.containers.filter { $0.value.contains { $0.state == .running } }.keys.sorted()
    }
}

private func module(
    _ name: String, _ image: String = "i:1", _ policy: RestartPolicy = .always, order: Int = 5,
    status: DesiredModuleStatus = .running
) -> ModuleSpecification {
    ModuleSpecification(name: name, image: image, status: status, restartPolicy: policy, startupOrder: order)
}

struct PlannerTests {
    @Test func `A module is pulled, made and started, and then left alone`() {
        var device = Device([module("a")], pulled: false)
        #expect(device.settle() == [.pull(image: "i:1")])
        device.facts.images["i:1"] = .pulling
        #expect(device.settle() == [])
        #expect(!device.facts.plan().isSettled)
        device.facts.images["i:1"] = .ready
        #expect(device.settle() == [.create(module: "a"), .start(module: "a", container: "a1", isRestart: false)])
        let plan = device.turn()
        #expect(plan.steps.isEmpty && plan.isSettled && plan.wakeAt == nil)
        #expect(plan.statuses["a"]?.runtimeStatus == .running)
    }

    @Test func `Modules of one image share one pull`() {
        let device = Device([module("a"), module("b"), module("c")], pulled: false)
        #expect(device.facts.plan().steps == [.pull(image: "i:1")])
    }

    @Test func `A module that shall never be pulled is made at once`() {
        var specification = module("a")
        specification.pullPolicy = .never
        var device = Device([specification], pulled: false)
        #expect(device.settle().first == .create(module: "a"))
    }

    @Test func `Startup order orders the starts, and equals start together`() {
        var device = Device([module("c", order: 2), module("b", order: 1), module("a", order: 1)])
        device.turn()
        var plan = device.turn()
        #expect(Set(plan.steps.compactMap(\.module)) == ["a", "b"])
        plan = device.turn()
        #expect(plan.steps.compactMap(\.module) == ["c"])
    }

    @Test func `A new image is pulled while the old container runs, and the two change places`() {
        var device = Device([module("a"), module("b")])
        _ = device.settle()
        device.want([module("a", "i:2"), module("b")], pulled: false)
        #expect(device.settle() == [.pull(image: "i:2")])
        #expect(device.running() == ["a", "b"])
        device.facts.images["i:2"] = .ready
        #expect(
            device.settle() == [
                .create(module: "a"), .remove(module: "a", container: "a1"),
                .start(module: "a", container: "a3", isRestart: false),
            ])
        #expect(device.running() == ["a", "b"])
    }

    @Test func `Nothing is taken away before every pull has come to an end`() {
        var device = Device([module("a"), module("old")])
        _ = device.settle()
        device.want([module("a", "i:2"), module("new", "i:3")], pulled: false)
        device.facts.images["i:2"] = .ready
        device.facts.images["i:3"] = .pulling
        #expect(device.settle() == [.create(module: "a")])
        #expect(device.running() == ["a", "old"])
        device.facts.images["i:3"] = .ready
        _ = device.settle()
        #expect(device.running() == ["a", "new"])
        #expect(device.facts.containers.values.allSatisfy { $0.count <= 1 })
    }

    @Test func `An image that cannot be had keeps its old container and holds up nobody else`() {
        var device = Device([module("a"), module("b")])
        _ = device.settle()
        device.want([module("a", "bad:1"), module("b", "i:2")], pulled: false)
        device.facts.images["i:2"] = .ready
        let next = device.facts.now.advanced(seconds: 10)
        device.facts.images["bad:1"] = .failed(
            StepFailure(action: "pull", reason: "manifest unknown", attempts: 1, nextAttempt: next))
        _ = device.settle()
        let plan = device.facts.plan()
        #expect(device.running() == ["a", "b"])
        #expect(plan.isSettled)
        #expect(plan.failures.map(\.module) == ["a"])
        #expect(plan.statuses["a"]?.runtimeStatus == .running)
        #expect(plan.statuses["a"]?.description.contains("manifest unknown") == true)
        #expect(plan.wakeAt == next)
        device.pass(10)
        #expect(device.facts.plan().steps == [.pull(image: "bad:1")])
    }

    @Test func `A module that never had an image is failed, with the reason`() {
        var device = Device([module("a", "bad:1"), module("b")])
        device.facts.images["bad:1"] = .failed(
            StepFailure(
                action: "pull", reason: "manifest unknown", attempts: 1,
                nextAttempt: device.facts.now.advanced(seconds: 10)))
        _ = device.settle()
        #expect(device.running() == ["b"])
        #expect(device.facts.plan().statuses["a"]?.runtimeStatus == .failed)
    }

    @Test func `A pull keeps no module down`() {
        var device = Device([module("a", order: 9)])
        _ = device.settle()
        device.want([module("a", order: 9), module("big", "big:1", order: 0)], pulled: false)
        device.facts.images["big:1"] = .pulling
        device.die("a", code: 1)
        device.pass(10)
        #expect(device.settle() == [.start(module: "a", container: "a1", isRestart: true)])
    }

    @Test func `Removed modules go, and those of nobody's deployment too`() {
        var device = Device([module("a"), module("b")])
        _ = device.settle()
        device.want([])
        let steps = device.settle()
        #expect(Set(steps) == [.remove(module: "a", container: "a1"), .remove(module: "b", container: "b2")])
        #expect(device.facts.plan().isSettled)
    }

    @Test func `A change that the engine does not see touches no container`() {
        var device = Device([module("a")])
        _ = device.settle()
        var changed = module("a", "i:1", .never, order: 1)
        changed.version = "2"
        device.want([changed])
        #expect(device.settle() == [])
    }

    @Test func `A module that shall be stopped is made, not started, and stopped when it runs`() {
        var device = Device([module("a", status: .stopped)])
        #expect(device.settle() == [.create(module: "a")])
        device.want([module("a")])
        #expect(device.settle() == [.start(module: "a", container: "a1", isRestart: false)])
        device.want([module("a", status: .stopped)])
        #expect(device.settle() == [.stop(module: "a", container: "a1")])
        #expect(device.facts.plan().statuses["a"]?.runtimeStatus == .stopped)
    }

    @Test func `Pauses before restarts double up to five minutes, and always never gives up`() {
        var device = Device([module("a")])
        _ = device.settle()
        var pauses: [Int] = []
        for _ in 0..<25 {
            device.die("a", code: 1)
            let before = device.facts.now
            let waiting = device.turn()
            #expect(waiting.steps.isEmpty)
            #expect(waiting.statuses["a"]?.runtimeStatus == .backoff)
            guard let wake = waiting.wakeAt else {
                Issue.record("it gave up after \(pauses.count) restarts")
                return
            }
            pauses.append(wake.seconds(since: before))
            device.facts.now = wake
            #expect(device.turn().steps == [.start(module: "a", container: "a1", isRestart: true)])
        }
        #expect(pauses.prefix(7) == [10, 20, 40, 80, 160, 300, 300])
        #expect(pauses.last == 300)
        #expect(device.facts.histories["a"]?.restartCount == 25)
    }

    @Test(arguments: [
        (RestartPolicy.never, 1, false, RuntimeStatus.failed), (.never, 0, false, .stopped),
        (.onFailure, 1, true, .backoff), (.onFailure, 0, true, .stopped), (.onUnhealthy, 1, true, .backoff),
        (.always, 0, true, .backoff), (.always, 1, true, .backoff),
    ])
    func `What has ended is started again by its policy`(
        policy: RestartPolicy, code: Int, restarts: Bool, status: RuntimeStatus
    ) {
        var device = Device([module("a", "i:1", policy)])
        _ = device.settle()
        device.die("a", code: code)
        #expect(device.turn().statuses["a"]?.runtimeStatus == status)
        device.pass(10)
        #expect(device.turn().steps.isEmpty == !restarts)
    }

    @Test func `A module that fails on and on is left alone after 20 restarts, unless it is to run always`() {
        var device = Device([module("a", "i:1", .onFailure)])
        _ = device.settle()
        device.facts.histories["a", default: ModuleHistory()].restartCount = 20
        device.die("a", code: 1)
        device.pass(1000)
        let plan = device.turn()
        #expect(plan.steps.isEmpty)
        #expect(plan.statuses["a"]?.runtimeStatus == .failed)
    }

    @Test func `An unhealthy module is restarted where its policy says so`() {
        for (policy, restarts) in [
            (RestartPolicy.onUnhealthy, true), (.always, true), (.onFailure, false), (.never, false),
        ] {
            var device = Device([module("a", "i:1", policy)])
            _ = device.settle()
            device.becomeUnhealthy("a")
            #expect(device.turn().statuses["a"]?.runtimeStatus == .unhealthy)
            device.pass(10)
            #expect(device.turn().steps.contains(.restart(module: "a", container: "a1")) == restarts)
        }
    }

    @Test func `Ten minutes of running are enough to forget`() {
        var device = Device([module("a")])
        _ = device.settle()
        device.die("a", code: 1)
        device.pass(10)
        #expect(device.settle().count == 1)
        #expect(device.facts.plan().wakeAt == device.facts.now.advanced(seconds: 600))
        device.pass(600)
        device.turn()
        #expect(device.facts.histories["a"] == nil)
    }

    @Test func `A clock that was set back delays nothing`() {
        var device = Device([module("a")])
        _ = device.settle()
        device.die("a", code: 1)
        device.pass(-86400)
        #expect(device.turn().steps.count == 1)
    }

    @Test func `A container that vanished is made anew at once, and with pauses when that goes on`() {
        var device = Device([module("a")])
        _ = device.settle()
        device.lose("a")
        #expect(device.settle().count == 2)
        device.lose("a")
        #expect(device.settle() == [])
        #expect(device.facts.plan().wakeAt == device.facts.now.advanced(seconds: 10))
        device.pass(10)
        #expect(device.settle().count == 2)
    }

    @Test func `A step that failed is tried again when its time has come, and others go on`() {
        var device = Device([module("a"), module("b", order: 9)])
        device.facts.histories["a", default: ModuleHistory()].failed("create", "port is taken", now: device.facts.now)
        #expect(device.settle().compactMap(\.module) == ["b", "b"])
        let plan = device.facts.plan()
        #expect(plan.isSettled)
        #expect(plan.failures.first?.reason == "create failed: port is taken")
        #expect(plan.statuses["a"]?.runtimeStatus == .failed)
        device.pass(10)
        #expect(device.settle().compactMap(\.module) == ["a", "a"])
    }

    @Test func `Failures of one kind wait longer and longer`() {
        var history = ModuleHistory()
        let now = WallTime(milliseconds: 0)
        var waits: [Int] = []
        for _ in 0..<7 {
            history.failed("create", "x", now: now)
            waits.append(history.failure?.nextAttempt.seconds(since: now) ?? -1)
        }
        #expect(waits == [10, 20, 40, 80, 160, 300, 300])
    }

    @Test func `Nothing is asked of a module that is busy`() {
        var device = Device([module("a"), module("b", order: 9)])
        device.facts.busy = ["a"]
        let plan = device.facts.plan()
        #expect(plan.steps == [.create(module: "b")])
        #expect(!plan.isSettled)
    }

    @Test func `Without identities nothing new is made and nothing that runs is touched`() {
        var device = Device([module("a")])
        _ = device.settle()
        device.facts.wanted = [
            WantedModule(module("a", "i:2"), fingerprint: nil), WantedModule(module("b"), fingerprint: nil),
        ]
        #expect(device.settle() == [])
        #expect(device.running() == ["a"])
    }

    @Test func `A kill in the middle of a replacement leaves nothing twice`() {
        var device = Device([module("a")])
        _ = device.settle()
        device.want([module("a", "i:2")])
        device.turn()
        #expect(device.facts.containers["a"]?.count == 2)
        device.facts.histories = [:]
        _ = device.settle()
        #expect(device.facts.containers["a"]?.map(\.fingerprint) == [Device.fingerprint(module("a", "i:2"))])
        #expect(device.running() == ["a"])
    }

    @Test func `A plan for fifty settled modules has no steps`() {
        var device = Device((0..<50).map { module("m\($0)") })
        _ = device.settle()
        #expect(device.running().count == 50)
        #expect(device.facts.plan().steps.isEmpty)
    }
}
