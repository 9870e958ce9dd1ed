import JSONDocument
import Testing

@testable import ModuleReconciling

/// Whether a new set has proved itself, has failed, or needs more time: a decision on facts and a clock that nobody sets.
struct DeploymentTransactionTests {
    private static let now = WallTime(milliseconds: 1_000_000_000_000)

    private static func surroundings() -> ContainerSurroundings {
        ContainerSurroundings(
            deviceID: "d", hubHostName: "h", gatewayHostName: "g", gatewayAddress: nil, generationID: "1",
            workloadFolder: "/w", networkName: "n")
    }

    private static func wanted(
        _ name: String, _ policy: RestartPolicy = .always, order: Int = 5, ready: String? = nil
    ) throws -> WantedModule {
        var module = ModuleSpecification(name: name, image: "i:1", restartPolicy: policy, startupOrder: order)
        module.readiness = try ready.map { try ReadinessRule($0, at: "test") }
        return WantedModule(module, fingerprint: ContainerFingerprint(module, surroundings()))
    }

    /// Facts of modules whose containers are all in a state.
    private static func facts(
        _ modules: [WantedModule], _ state: ContainerFacts.State?, _ change: (inout ContainerFacts) -> Void = { _ in }
    ) -> ReconcilingFacts {
        var facts = ReconcilingFacts(wanted: modules, images: ["i:1": .ready], now: now)
        guard let state else { return facts }
        for module in modules {
            let name = module.specification.name
            var container = ContainerFacts(id: name, name: name, fingerprint: module.fingerprint, state: state)
            container.startedAt = state == .created ? nil : now
            change(&container)
            facts.containers[name] = [container]
        }
        return facts
    }

    private func judge(
        _ transaction: inout DeploymentTransaction, _ facts: ReconcilingFacts, at seconds: Int, canRollBack: Bool = true
    ) -> TransactionVerdict {
        transaction.judge(facts, elapsed: seconds * 1000, canRollBack: canRollBack)
    }

    private func reasons(_ verdict: TransactionVerdict) -> [String]? {
        guard case .rollBack(let reasons) = verdict else { return nil }
        return reasons.map { "\($0.module): \($0.reason)" }
    }

    @Test func `A set that runs without fault for its probation is committed`() throws {
        var transaction = DeploymentTransaction(version: 2)
        let facts = Self.facts([try Self.wanted("a"), try Self.wanted("b")], .running)
        #expect(judge(&transaction, facts, at: 100) == .wait(milliseconds: 60_000))
        #expect(transaction.phase == .probation)
        #expect(judge(&transaction, facts, at: 159) == .wait(milliseconds: 1000))
        #expect(judge(&transaction, facts, at: 160) == .commit)
    }

    @Test func `While an image is missing no time counts`() throws {
        var transaction = DeploymentTransaction(version: 2)
        var facts = Self.facts([try Self.wanted("a")], nil)
        facts.images["i:1"] = .pulling
        #expect(judge(&transaction, facts, at: 0) == .wait(milliseconds: nil))
        #expect(judge(&transaction, facts, at: 100_000) == .wait(milliseconds: nil))
        #expect(transaction.phase == .prefetch)
        facts.images["i:1"] = .ready
        #expect(judge(&transaction, facts, at: 100_000) == .wait(milliseconds: 300_000))
        #expect(transaction.phase == .swap)
    }

    @Test func `A fault in the probation begins it anew`() throws {
        var transaction = DeploymentTransaction(version: 2)
        let modules = [try Self.wanted("a")]
        let running = Self.facts(modules, .running)
        #expect(judge(&transaction, running, at: 0) == .wait(milliseconds: 60_000))
        let crashed = Self.facts(modules, .exited) { $0.exitCode = 1 }
        #expect(judge(&transaction, crashed, at: 50) == .wait(milliseconds: 250_000))
        #expect(judge(&transaction, running, at: 61) == .wait(milliseconds: 60_000))
        #expect(judge(&transaction, running, at: 121) == .commit)
    }

    @Test func `A module that is never started again fails the set at once`() throws {
        var transaction = DeploymentTransaction(version: 2)
        let facts = Self.facts([try Self.wanted("a", .never)], .exited) { $0.exitCode = 3 }
        #expect(reasons(judge(&transaction, facts, at: 0)) == ["a: exited with code 3"])
    }

    @Test func `A module that has done its work is well`() throws {
        for policy in [RestartPolicy.never, .onFailure, .onUnhealthy] {
            var transaction = DeploymentTransaction(version: 2)
            let facts = Self.facts([try Self.wanted("a", policy)], .exited)
            _ = judge(&transaction, facts, at: 0)
            #expect(judge(&transaction, facts, at: 60) == .commit)
        }
    }

    @Test func `The third crash of a module fails the set`() throws {
        var transaction = DeploymentTransaction(version: 2)
        var facts = Self.facts([try Self.wanted("a")], .exited) { $0.exitCode = 139 }
        facts.histories["a"] = ModuleHistory()
        facts.histories["a"]?.restartCount = 1
        #expect(reasons(judge(&transaction, facts, at: 0)) == nil)
        facts.histories["a"]?.restartCount = 2
        #expect(reasons(judge(&transaction, facts, at: 1)) == ["a: exited with code 139, 3 times"])
    }

    @Test func `A module that does not become healthy in time fails the set`() throws {
        var transaction = DeploymentTransaction(version: 2)
        var facts = Self.facts([try Self.wanted("a")], .running) { $0.health = .starting }
        facts.policy.readiness = 100
        #expect(judge(&transaction, facts, at: 0) == .wait(milliseconds: 100_000))
        #expect(reasons(judge(&transaction, facts, at: 100)) == ["a: its health check has not passed"])
        var other = DeploymentTransaction(version: 2)
        let sick = Self.facts([try Self.wanted("a", .onFailure)], .running) { $0.health = .unhealthy }
        #expect(reasons(judge(&other, sick, at: 0)) == ["a: its health check fails"])
    }

    @Test func `A module that says itself when it is ready is waited for`() throws {
        var transaction = DeploymentTransaction(version: 2)
        var facts = Self.facts([try Self.wanted("a", ready: "status.state=ready")], .running)
        #expect(judge(&transaction, facts, at: 0) == .wait(milliseconds: 300_000))
        facts.ready = ["a"]
        #expect(judge(&transaction, facts, at: 10) == .wait(milliseconds: 60_000))
        facts.ready = []
        #expect(reasons(judge(&transaction, facts, at: 300)) == ["a: it has not reported status.state=ready"])
    }

    @Test func `Without a set to go back to nothing is given up`() throws {
        var transaction = DeploymentTransaction(version: 2)
        let facts = Self.facts([try Self.wanted("a", .never)], .exited) { $0.exitCode = 3 }
        #expect(judge(&transaction, facts, at: 0, canRollBack: false) == .wait(milliseconds: 300_000))
        #expect(judge(&transaction, facts, at: 1000, canRollBack: false) == .wait(milliseconds: nil))
        #expect(transaction.isOpen)
    }

    @Test func `Old trouble of a module that was not changed fails no set`() throws {
        var transaction = DeploymentTransaction(version: 2)
        transaction.troubledBefore = ["a"]
        let facts = Self.facts([try Self.wanted("a", .never)], .exited) { $0.exitCode = 3 }
        _ = judge(&transaction, facts, at: 0)
        #expect(judge(&transaction, facts, at: 60) == .commit)
    }

    @Test func `A wall clock that jumps by a year neither ends a probation nor fails a set`() throws {
        for year in [-31_536_000, 31_536_000] {
            var transaction = DeploymentTransaction(version: 2)
            var facts = Self.facts([try Self.wanted("a")], .running)
            _ = judge(&transaction, facts, at: 0)
            facts.now = facts.now.advanced(seconds: year)
            #expect(judge(&transaction, facts, at: 1) == .wait(milliseconds: 59_000))
            var coming = DeploymentTransaction(version: 2)
            var late = Self.facts([try Self.wanted("a")], .created)
            _ = judge(&coming, late, at: 0)
            late.now = late.now.advanced(seconds: year)
            #expect(judge(&coming, late, at: 1) == .wait(milliseconds: 299_000))
        }
    }

    @Test func `What was decided stays decided`() throws {
        var transaction = DeploymentTransaction(version: 2)
        transaction.phase = .committed
        let facts = Self.facts([try Self.wanted("a", .never)], .exited) { $0.exitCode = 3 }
        #expect(judge(&transaction, facts, at: 0) == .wait(milliseconds: nil))
    }

    // MARK: Readiness and order

    @Test(arguments: [
        ("ready", "{\"ready\":true}", true), ("ready", "{\"ready\":1}", true), ("ready", "{\"ready\":false}", false),
        ("ready", "{\"ready\":null}", false), ("ready", "{}", false), ("a.b=up", "{\"a\":{\"b\":\"up\"}}", true),
        ("a.b=up", "{\"a\":{\"b\":\"down\"}}", false), ("a.b=3", "{\"a\":{\"b\":3}}", true),
        ("a.b=up", "{\"a\":7}", false),
    ])
    func `A readiness rule reads reported properties`(rule: String, reported: String, holds: Bool) throws {
        #expect(try ReadinessRule(rule, at: "test").holds(in: JSONValue(parsing: reported)) == holds)
    }

    @Test(arguments: ["", "=x", "a..b", ".a"])
    func `A readiness rule without a property is refused`(rule: String) {
        #expect(throws: ManifestError.self) { try ReadinessRule(rule, at: "test") }
    }

    @Test func `Where the manifest asks for it, a later module waits until an earlier one is ready`() throws {
        let first = try Self.wanted("first", order: 1, ready: "ready")
        let second = try Self.wanted("second", order: 2)
        var facts = Self.facts([first, second], .exited) { $0.endedUnseen = true }
        facts.policy.startsWhenReady = true
        // As after a reboot: both have ended unseen.
        #expect(facts.plan().steps == [.start(module: "first", container: "first", isRestart: true)])
        facts.containers["first"]?[0].state = .running
        facts.containers["first"]?[0].endedUnseen = false
        let waiting = facts.plan()
        #expect(waiting.steps.isEmpty)
        #expect(waiting.wakeAt == facts.now.advanced(seconds: 300))
        facts.ready = ["first"]
        #expect(facts.plan().steps == [.start(module: "second", container: "second", isRestart: true)])
        facts.ready = []
        facts.now = facts.now.advanced(seconds: 300)
        #expect(facts.plan().steps == [.start(module: "second", container: "second", isRestart: true)])
    }

    @Test func `After a reboot modules start in their order`() throws {
        let first = try Self.wanted("first", order: 1)
        let second = try Self.wanted("second", order: 2)
        var facts = Self.facts([first, second], .exited) { $0.endedUnseen = true }
        #expect(facts.plan().steps == [.start(module: "first", container: "first", isRestart: true)])
        facts.containers["first"]?[0].state = .running
        #expect(facts.plan().steps == [.start(module: "second", container: "second", isRestart: true)])
    }

    @Test func `Settings are read from the environment of the agent`() throws {
        let policy = try DeploymentPolicy(
            [
                EnvironmentVariable("HedgerowRollback", "false"),
                EnvironmentVariable("HEDGEROWPROBATIONSECONDS", "5"),
                EnvironmentVariable("HedgerowReadinessSeconds", "7"),
                EnvironmentVariable("HedgerowStartupWait", "Ready"),
                EnvironmentVariable("ModuleUpdateMode", "WaitForAllPulls"), EnvironmentVariable("MaxRestartCount", "3"),
                EnvironmentVariable("CoolOffTimeUnitInSeconds", "no number"), EnvironmentVariable("Other", "x"),
            ], at: "env")
        #expect(!policy.rollsBack && policy.probation == 5 && policy.readiness == 7)
        #expect(policy.startsWhenReady && policy.waitsForAllPulls)
        #expect(policy.maximumRestarts == 3 && policy.backOffUnit == nil)
        for (name, value) in [
            ("HedgerowRollback", "maybe"), ("HedgerowProbationSeconds", "-1"), ("HedgerowReadinessSeconds", "86401"),
            ("HedgerowStartupWait", "later"),
        ] {
            let error = #expect(throws: ManifestError.self) {
                try DeploymentPolicy([EnvironmentVariable(name, value)], at: "env")
            }
            #expect(error?.message.contains("env.\(name)") == true)
        }
    }
}
