import Foundation
import JSONDocument
import ServiceClient
import Testing

/// What all tests of the dashboard share: one browser, one hub, and a small fleet on it.
struct DashboardBench: Sendable {
    let browser: Browser
    let address: String
    let service: ServiceClient
    let door: DeviceDoor
    let fleet: SampleFleet
    /// Passwords of the users, by role, whose names are those of the roles.
    let passwords: [String: String]
    private let key: String

    @TaskLocal static var shared: DashboardBench?

    static var current: DashboardBench {
        get throws { try #require(shared, "the suite runs without its browser") }
    }

    init(_ browser: Browser, _ hub: RunningHub, _ service: ServiceClient) async throws {
        self.browser = browser
        address = "https://localhost:\(hub.ports["https"] ?? 0)"
        self.service = service
        key = Self.key(of: hub)
        door = DeviceDoor(
            mqttPort: hub.ports["mqtt"] ?? 0, roots: try String(contentsOfFile: hub.rootFile, encoding: .utf8),
            service: service)
        fleet = try await SampleFleet(at: door)
        var passwords: [String: String] = [:]
        for role in ["viewer", "operator", "admin"] {
            let password = try await hub.command("user", "add", role, "--role", role)
            passwords[role] = password.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        self.passwords = passwords
    }

    static func key(of hub: RunningHub) -> String {
        let found = hub.connectionString.split(separator: ";").first { $0.hasPrefix("SharedAccessKey=") }
        return String(found?.dropFirst("SharedAccessKey=".count) ?? "")
    }

    /// A page of somebody who has signed in; closed afterwards.
    ///
    /// - Parameter name: of a policy or a user.
    func signedIn(as name: String = "iothubowner", _ body: (BrowserPage) async throws -> Void) async throws {
        try await page { page in
            try await page.open(address)
            try await page.signIn(name, passwords[name] ?? key)
            try await page.wait("the fleet comes up", "document.querySelector('h1')?.innerText === 'Fleet'")
            try await body(page)
        }
    }

    func page(_ body: (BrowserPage) async throws -> Void) async throws {
        let page = try await BrowserPage(browser)
        do { try await body(page) } catch {
            await page.close()
            throw error
        }
        await page.close()
    }
}

extension BrowserPage {
    /// Fills in the form of the door, and goes through it.
    func signIn(_ name: String, _ secret: String) async throws {
        try await fill("[name=username]", with: name)
        try await fill("[name=password]", with: secret)
        try await follow("form button")
    }
}

/// Starts browser, hub and fleet before the tests of a suite, and ends them afterwards.
struct DashboardBrowserTrait: SuiteTrait, TestScoping {
    var isRecursive: Bool { false }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        let browser = try Browser(in: folder.path)
        defer {
            browser.close()
            hub.program.stop()
        }
        let service = try hub.service()
        do {
            let bench = try await DashboardBench(browser, hub, service)
            try await DashboardBench.$shared.withValue(bench) { try await function() }
            await bench.fleet.disconnect()
        } catch {
            await service.shutdown()
            throw error
        }
        await service.shutdown()
    }
}

extension Trait where Self == DashboardBrowserTrait {
    static var withBrowser: Self { DashboardBrowserTrait() }
}

/// The dashboard in a real browser.
@Suite(.serialized, .enabled(if: Machine.hasBrowser), .withBrowser, .timeLimit(.minutes(15)))
struct DashboardInBrowser {}
