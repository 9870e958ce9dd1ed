import Foundation
import JSONDocument
import Model
import NIOHTTP1
import ServiceClient
import Testing

extension DashboardInBrowser {
    /// What happens in the fleet is seen on pages that are open, without loading them again.
    @Suite struct LiveTests {
        /// Fails when the page was loaded again since `mark`.
        private func mark(_ page: BrowserPage) async throws { try await page.evaluate("window.isMarked = true") }

        private func isSamePage(_ page: BrowserPage) async throws -> Bool {
            try await page.evaluate("window.isMarked === true && document.documentElement.dataset.connected === 'yes'")
                == true
        }

        private func row(_ id: String) -> String { "document.querySelector('tr[data-key=\"\(id)\"]')?.innerText" }

        @Test func `A device appears when it is registered, connects, goes, and vanishes when it is removed`()
            async throws
        {
            let bench = try DashboardBench.current
            let id = "visitor-1"
            try await bench.signedIn { page in
                try await page.open(bench.address + "/?prefix=visitor")
                try await page.wait(for: "No device is in this view")
                try await mark(page)
                _ = try await bench.service.call(.PUT, ["devices", id], body: ["deviceId": .string(id)])
                try await page.wait("the row is there", "\(row(id))?.includes('never seen')")
                let device = try await SimulatedDevice(IdentityKey(device: id), at: bench.door)
                try await page.wait("it is connected", "/\\bconnected/.test(\(row(id)))")
                _ = try await bench.service.call(.PATCH, ["twins", id], body: ["tags": ["room": "oven room"]])
                try await page.wait("its tag is there", "\(row(id)).includes('oven room')")
                await device.disconnect()
                try await page.wait("it is gone offline", "\(row(id)).includes('offline')")
                _ = try await bench.service.call(.DELETE, ["devices", id], headers: ["if-match": "*"])
                try await page.wait("the row is gone", "!document.querySelector('tr[data-key=\"\(id)\"]')")
                #expect(try await isSamePage(page))
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `Messages of a device come onto its page, and any number in them can be drawn`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(bench.address + PageTests.device)
                try await page.wait(
                    "earlier messages are there", "document.querySelectorAll('.messages li').length > 5")
                try await mark(page)
                try await bench.fleet.thermometer.send(["temperature": 1234.5, "humidity": 7])
                try await page.wait(for: "1234.5")
                let options = try await page.text("[data-field]")
                #expect(options?.contains("temperature") == true && options?.contains("humidity") == true)
                let line = "document.querySelector('[data-chart=field] .line')?.getAttribute('d')"
                try await page.choose("[data-field]", "temperature")
                try await page.wait("the temperature is drawn", line)
                let before = try #require(try await page.evaluate(line).string)
                try await page.choose("[data-field]", "humidity")
                try await page.wait("another field has another line", "\(line) !== \(BrowserPage.quoted(before))")
                // The top of the scale is the value that was sent last.
                try await page.choose("[data-field]", "temperature")
                try await page.wait(
                    "the scale reaches the new value",
                    "[...document.querySelectorAll('[data-chart=field] text')].some((text) => text.textContent === '1234' || text.textContent === '1235')"
                )
                #expect(try await isSamePage(page))
            }
        }

        @Test func `The stream of messages keeps to its condition, rests when told, and says what is wrong with one`()
            async throws
        {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                let condition = "level%20%3D%20%27urgent%27"
                try await page.open(bench.address + "/ui/messages?where=\(condition)")
                try await page.wait("it listens", "document.documentElement.dataset.connected === 'yes'")
                try await bench.fleet.thermometer.send(["note": "left out"], properties: "level=normal")
                try await bench.fleet.thermometer.send(["note": "taken in"], properties: "level=urgent")
                try await page.wait(for: "taken in")
                #expect(try await page.text(".messages")?.contains("left out") == false)
                try await page.click("[data-pause]")
                #expect(try await page.text("[data-pause]") == "Go on")
                try await bench.fleet.thermometer.send(["note": "while at rest"], properties: "level=urgent")
                try await page.click("[data-pause]")
                try await bench.fleet.thermometer.send(["note": "afterwards"], properties: "level=urgent")
                try await page.wait(for: "afterwards")
                try await page.open(bench.address + "/ui/messages?where=level%20%3D")
                try await page.wait(
                    "the mistake is told", "document.querySelector('[data-stream-refusal] [role=alert]')")
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `A deployment shows how far it has come while devices report`() async throws {
            let bench = try DashboardBench.current
            let (id, deployment) = ("rollout-1", "rollout")
            _ = try await bench.service.call(
                .PUT, ["devices", id], body: ["deviceId": .string(id), "capabilities": ["iotEdge": true]])
            try await SampleFleet.put(
                deployment, SampleFleet.manifest("2.2", period: 1), "deviceId = '\(id)'", 7, bench.service)
            try await bench.signedIn { page in
                try await page.open(bench.address + "/ui/deployments/\(deployment)")
                let counts = "document.querySelector('.counts').innerText.replace(/\\s+/g, ' ')"
                try await page.wait("it waits for the device", "\(counts).includes('1 applied 0 succeeded')")
                #expect(try await page.text("[data-live]")?.contains("no report of this version yet") == true)
                try await mark(page)
                let agent = try await SimulatedDevice(
                    IdentityKey(device: id, module: "$edgeAgent"), at: bench.door)
                try await agent.reportDeployment(refusal: "no space is left on the device")
                try await page.wait("the failure is counted", "\(counts).includes('1 failed')")
                try await page.wait(for: "no space is left on the device")
                try await agent.reportDeployment()
                try await page.wait("the success is counted", "\(counts).includes('1 succeeded')")
                #expect(try await isSamePage(page))
                await agent.disconnect()
            }
            _ = try await bench.service.call(.DELETE, ["configurations", deployment], headers: ["if-match": "*"])
            _ = try await bench.service.call(.DELETE, ["devices", id], headers: ["if-match": "*"])
        }

        @Test func `Failures are grouped by their reason, and who wins elsewhere is named`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(bench.address + "/ui/deployments/\(SampleFleet.earlier)")
                let failures = try await page.text("[aria-labelledby=failures-title]")
                #expect(failures?.contains("is not in the registry") == true)
                #expect(failures?.contains(SampleFleet.failing) == true)
                try await page.open(bench.address + "/?prefix=\(SampleFleet.ovens[0])")
                #expect(try await page.text("tbody tr")?.contains(SampleFleet.deployment) == true)
                try await page.open(bench.address + "/ui/deployments/\(SampleFleet.earlier)")
                #expect(
                    try await page.text("[aria-labelledby=winners-title]")?.contains(SampleFleet.deployment) == true)
            }
        }

        @Test func `An empty hub tells the next three commands, until its first device comes`() async throws {
            let bench = try DashboardBench.current
            let folder = try TemporaryFolder()
            let hub = try await RunningHub(in: folder.path)
            let service = try hub.service()
            try await bench.page { page in
                try await page.open("https://localhost:\(hub.ports["https"] ?? 0)")
                try await page.signIn("iothubowner", DashboardBench.key(of: hub))
                let commands = try await page.text(".first-run")
                for command in ["hedgerow device create", "hedgerow edge apply", "hedgerow deployment create"] {
                    #expect(commands?.contains(command) == true)
                }
                let faults = try await AccessibilityCheck.faults(of: page)
                #expect(faults.isEmpty, "\(faults)")
                _ = try await service.call(.PUT, ["devices", "first"], body: ["deviceId": "first"])
                try await page.wait(
                    "the device is there", "\(row("first")) && !document.querySelector('.first-run')")
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
            await service.shutdown()
            hub.program.stop()
        }
    }
}
