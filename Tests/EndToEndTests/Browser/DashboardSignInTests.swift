import Foundation
import JSONDocument
import Testing

extension DashboardInBrowser {
    @Suite struct SignInTests {
        @Test func `The key of a policy leads to the fleet, and signing out leads out for good`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                #expect(try await page.text("tbody")?.contains(SampleFleet.ovens[0]) == true)
                try await page.follow("form[action='/ui/sign-out'] button")
                #expect(try await page.has("[name=password]"))
                try await page.open(bench.address + "/ui/deployments")
                #expect(try await page.has("[name=password]"))
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `A user signs in with a password and is named on the page`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn(as: "operator") { page in
                let name = try await page.text(".account strong")
                #expect(name == "operator")
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `A wrong password stays at the door, says so, and keeps the name`() async throws {
            let bench = try DashboardBench.current
            try await bench.page { page in
                try await page.open(bench.address)
                try await page.signIn("viewer", "not the password")
                #expect(try await page.text("[role=alert]")?.contains("do not belong together") == true)
                let name = try await page.evaluate("document.querySelector('[name=username]').value")
                #expect(name == "viewer")
                let cookies = try await page.call("Network.getCookies")["cookies"]?.array
                #expect(cookies?.isEmpty == true)
                // The way in is still open.
                try await page.signIn("viewer", try #require(bench.passwords["viewer"]))
                #expect(try await page.text("h1") == "Fleet")
            }
        }

        @Test func `A session is kept from scripts and from other sites`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                #expect(try await page.evaluate("document.cookie") == "")
                let cookie = try await page.call("Network.getCookies")["cookies"]?.array?.first
                #expect(cookie?["httpOnly"] == true && cookie?["secure"] == true && cookie?["sameSite"] == "Strict")
            }
        }
    }
}
