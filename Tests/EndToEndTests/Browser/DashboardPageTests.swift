import Foundation
import JSONDocument
import Testing

extension DashboardInBrowser {
    /// Every page, as people have it before them.
    @Suite struct PageTests {
        static let device = "/ui/devices/\(SampleFleet.ovens[0])"
        static let pages: [(address: String, title: String)] = [
            ("/", "Fleet"), ("/?view=failing", "Fleet"), ("/?where=tags.site%20%3D%20%27north%27", "Fleet"),
            ("/?where=nonsense", "Fleet"), ("/ui/new-device", "New device"),
            (device, SampleFleet.ovens[0]), ("\(device)?module=\(SampleFleet.module)", SampleFleet.ovens[0]),
            ("/ui/devices/scale-02", "scale-02"), ("\(device)/editor?module=\(SampleFleet.module)", "Edit the twin"),
            ("/ui/deployments", "Deployments"), ("/ui/deployments/\(SampleFleet.deployment)", SampleFleet.deployment),
            ("/ui/deployments/\(SampleFleet.earlier)", SampleFleet.earlier),
            ("/ui/deployments/\(SampleFleet.layer)", SampleFleet.layer), ("/ui/new-deployment", "New deployment"),
            ("/ui/compare?a=\(SampleFleet.earlier)&b=\(SampleFleet.deployment)", "Compare"),
            ("/ui/messages?since=1h", "Messages"), ("/ui/users", "Users"),
        ]

        static let looks: [(look: BrowserPage.Look, width: Int)] = [(.light, 1280), (.dark, 1280), (.light, 390)]

        @Test(arguments: looks)
        func `Every page is without errors, in reach of everybody, and no wider than the window`(
            look: BrowserPage.Look, width: Int
        ) async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.look(look, width: width, height: width < 640 ? 844 : 900)
                for (address, title) in Self.pages {
                    try await page.open(bench.address + address)
                    #expect(try await page.text("h1") == title)
                    let faults = try await AccessibilityCheck.faults(of: page, onlyColours: look == .dark)
                    #expect(faults.isEmpty, "\(address) \(look) \(width): \(faults.joined(separator: "\n"))")
                }
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test(arguments: looks)
        func `The door is without errors, in reach of everybody, and no wider than the window`(
            look: BrowserPage.Look, width: Int
        ) async throws {
            let bench = try DashboardBench.current
            try await bench.page { page in
                try await page.look(look, width: width)
                try await page.open(bench.address)
                let faults = try await AccessibilityCheck.faults(of: page)
                #expect(faults.isEmpty, "\(faults.joined(separator: "\n"))")
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `Dark is as the system says, and as the person says after that`() async throws {
            let bench = try DashboardBench.current
            let lightness = """
                (() => { const [r, g, b] = getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number);
                return (r + g + b) / 3; })()
                """
            try await bench.signedIn { page in
                try await page.look(.dark)
                #expect(try await page.evaluate(lightness).double ?? 255 < 64)
                try await page.click("[data-theme-switch]")
                #expect(try await page.evaluate(lightness).double ?? 0 > 192)
                try await page.open(bench.address + "/ui/deployments")
                #expect(try await page.evaluate(lightness).double ?? 0 > 192)
            }
        }

        @Test func `A page that does not exist says so, within the frame`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(bench.address + "/ui/nothing")
                #expect(try await page.text("h1") == "Not found")
                #expect(try await page.has("nav a[href='/ui/deployments']"))
            }
        }
    }
}
