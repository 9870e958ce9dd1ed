import Foundation
import JSONDocument
import NIOHTTP1
import ServiceClient
import Testing

extension DashboardInBrowser {
    /// What people see and may do by their role; the hub decides, whatever the page shows.
    @Suite struct RoleTests {
        /// Posts a form as a page of this session would.
        private func post(_ page: BrowserPage, _ path: String, _ fields: [String: String] = [:]) async throws -> Int? {
            let body = fields.map { "form.set(\(BrowserPage.quoted($0.key)), \(BrowserPage.quoted($0.value)));" }
                .joined(separator: " ")
            return try await page.evaluate(
                """
                (async () => {
                  const form = new URLSearchParams();
                  form.set('token', document.querySelector('[name=token]').value);
                  \(body)
                  return (await fetch(\(BrowserPage.quoted(path)), { method: 'POST', body: form, redirect: 'manual' })).status;
                })()
                """
            ).int
        }

        @Test func `A viewer sees no control that changes anything, and is refused with 403`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn(as: "viewer") { page in
                let oven = PageTests.device
                for address in [
                    "/", oven, "/ui/deployments", "/ui/deployments/\(SampleFleet.deployment)", "/ui/messages",
                ] {
                    try await page.open(bench.address + address)
                    let forms = try await page.evaluate(
                        "[...document.querySelectorAll('form[method=post]')].map((form) => form.getAttribute('action'))"
                    )
                    #expect(forms == ["/ui/sign-out"], "\(address)")
                    let links =
                        try await page.evaluate(
                            "[...document.querySelectorAll('a')].map((link) => link.getAttribute('href'))"
                        ).array ?? []
                    let texts = links.compactMap(\.string)
                    #expect(
                        !texts.contains { $0.contains("new-") || $0.contains("editor") || $0 == "/ui/users" },
                        "\(address)")
                }
                #expect(page.complaints.isEmpty, "\(page.complaints)")
                let attempts: [(path: String, fields: [String: String])] = [
                    ("\(oven)/method", ["method": "status", "module": SampleFleet.module]),
                    ("\(oven)/restart", ["module": SampleFleet.module]), ("\(oven)/connection-string", [:]),
                    ("\(oven)/status", ["status": "disabled"]),
                    ("\(oven)/remove", ["confirmation": SampleFleet.ovens[0]]),
                    ("/ui/views", ["name": "mine", "condition": "deviceId = 'x'", "do": "save"]),
                    ("/ui/deployments/\(SampleFleet.deployment)/rollback", [:]),
                    ("/ui/deployments/\(SampleFleet.deployment)/change", ["condition": "*", "priority": "9"]),
                    ("/ui/users", ["name": "viewer", "role": "admin", "existing": "yes"]),
                    ("/ui/users/operator/remove", [:]),
                ]
                for (path, fields) in attempts { #expect(try await post(page, path, fields) == 403, "\(path)") }
                let twin = try await bench.service.call(.GET, ["twins", SampleFleet.ovens[0]]).body
                #expect(twin["status"] == "enabled")
            }
        }

        @Test func `An operator changes twins and deployments, and neither makes devices nor sees keys`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn(as: "operator") { page in
                try await page.open(bench.address + PageTests.device)
                #expect(try await page.has("form[action$='/method']"))
                #expect(try await page.has("#twin a.button"))
                #expect(try await page.has("form[action$='/connection-string']") == false)
                #expect(try await post(page, PageTests.device + "/connection-string") == 403)
                #expect(try await post(page, PageTests.device + "/status", ["status": "disabled"]) == 403)
                #expect(
                    try await post(page, "/ui/users", ["name": "operator", "role": "admin", "existing": "yes"]) == 403)
                try await page.open(bench.address + "/ui/deployments")
                #expect(try await page.has("a[href='/ui/new-deployment']"))
            }
        }

        @Test func `An admin keeps the list of users, and a removed user is outside at once`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn(as: "admin") { page in
                try await page.open(bench.address + "/ui/users")
                try await page.fill("form.stack [name=name]", with: "anna")
                try await page.choose("form.stack [name=role]", "viewer")
                try await page.fill("form.stack [name=password]", with: "a long password")
                try await page.follow("form.stack button.primary")
                #expect(try await page.has("tr[data-key=anna]"))
                try await bench.page { other in
                    try await other.open(bench.address)
                    try await other.signIn("anna", "a long password")
                    #expect(try await other.text(".account")?.contains("viewer") == true)
                    try await page.choose("tr[data-key=anna] select", "operator")
                    try await page.follow("tr[data-key=anna] button[aria-label^=Set]")
                    try await other.open(bench.address + PageTests.device)
                    // The hub asks for the role at each call; what a page shows is from signing in.
                    #expect(
                        try await post(
                            other, PageTests.device + "/method", ["method": "status", "module": SampleFleet.module])
                            == 200)
                    try await page.follow("tr[data-key=anna] button.bad")
                    #expect(try await page.has("tr[data-key=anna]") == false)
                    try await other.open(bench.address + "/ui/deployments")
                    #expect(try await other.has("[name=password]"))
                }
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `A form of another session does nothing`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.evaluate(
                    "document.querySelectorAll('[name=token]').forEach((field) => { field.value = 'guess'; }); true")
                #expect(try await post(page, PageTests.device + "/status", ["status": "disabled"]) == 403)
            }
        }
    }
}
