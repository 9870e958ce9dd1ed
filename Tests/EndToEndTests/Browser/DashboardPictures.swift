import Foundation
import Testing

extension DashboardInBrowser {
    /// The pictures of `docs/images`, for `make screenshots`.
    @Suite struct Pictures {
        private static let folder = ProcessInfo.processInfo.environment["HEDGEROW_SCREENSHOTS"]

        private struct Picture {
            let name: String
            let address: String
            var look = BrowserPage.Look.light
            var width = 1200
            var height = 760
            /// A part of the page to begin with.
            var place: String?
        }

        private static let pictures = [
            Picture(name: "fleet", address: "/"),
            Picture(name: "fleet-dark", address: "/", look: .dark),
            Picture(name: "fleet-phone", address: "/", width: 390, height: 800),
            Picture(name: "device", address: PageTests.device),
            Picture(name: "device-dark", address: PageTests.device, look: .dark),
            Picture(
                name: "twin", address: "\(PageTests.device)?module=\(SampleFleet.module)", height: 640, place: "#twin"),
            Picture(name: "deployments", address: "/ui/deployments"),
            Picture(name: "deployments-dark", address: "/ui/deployments", look: .dark),
            Picture(name: "deployment", address: "/ui/deployments/\(SampleFleet.earlier)"),
            Picture(name: "messages", address: "/ui/messages?since=10m"),
            Picture(name: "messages-dark", address: "/ui/messages?since=10m", look: .dark),
        ]

        @Test(.enabled(if: folder != nil)) func `Every picture is taken of a fleet that runs`() async throws {
            let bench = try DashboardBench.current
            let folder = try #require(Self.folder)
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            // Readings come on while the pictures are taken, so that charts have something to draw.
            let readings = Task {
                for step in 24... {
                    try await bench.fleet.sendReading(step)
                    try await Task.sleep(for: .milliseconds([120, 260, 90, 400][step % 4]))
                }
            }
            defer { readings.cancel() }
            try await bench.signedIn { page in
                for picture in Self.pictures {
                    let isPhone = picture.width < 640
                    try await page.look(
                        picture.look, width: picture.width, height: picture.height, scale: isPhone ? 2 : 1)
                    try await page.open(bench.address + picture.address)
                    if try await page.has("[data-messages]") {
                        try await page.wait(
                            "the charts are drawn",
                            "document.querySelectorAll('.messages li').length > 24 && document.querySelector('[data-chart=rate] .line')"
                        )
                        // The rate is over two minutes; some seconds of it are seen.
                        try await Task.sleep(for: .seconds(10))
                    }
                    if let place = picture.place {
                        try await page.evaluate("document.querySelector('\(place)').scrollIntoView(); true")
                    }
                    try await page.screenshot().write(to: URL(fileURLWithPath: "\(folder)/\(picture.name).png"))
                }
            }
        }
    }
}
