import Foundation
import JSONDocument
import NIOHTTP1
import ServiceClient
import Testing

extension DashboardInBrowser {
    /// What can be done on pages, with what the browser and the hub say to mistakes.
    @Suite struct ActionTests {
        @Test func `The editor writes a twin, and the device is sent what differs`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                let (oven, module) = (SampleFleet.ovens[1], SampleFleet.module)
                try await page.open("\(bench.address)/ui/devices/\(oven)?module=\(module)")
                try await page.follow("#twin a.button")
                try await page.fill("[name=desired]", with: #"{"period": 9, "unit": "F"}"#)
                try await page.follow("form.stack button.primary")
                #expect(try await page.text(".twins")?.contains("\"period\": 9") == true)
                let twin = try await bench.service.call(.GET, ["twins", oven, "modules", module]).body
                #expect(twin.at(["properties", "desired", "period"]) == 9)
                #expect(twin.at(["properties", "desired", "unit"]) == "F")
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `The editor keeps what is no JSON from being sent, and the server shows where it breaks`()
            async throws
        {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                let oven = SampleFleet.ovens[2]
                try await page.open("\(bench.address)/ui/devices/\(oven)/editor?module=\(SampleFleet.module)")
                let before = try await bench.service.call(.GET, ["twins", oven, "modules", SampleFleet.module]).body
                try await page.fill("[name=desired]", with: "{\n  \"period\": nine\n}")
                try await page.wait(
                    "the field is marked", "document.querySelector('[name=desired][aria-invalid=true]')")
                try await page.click("form.stack button.primary")
                #expect(
                    try await page.evaluate("document.querySelector('[name=desired]').validity.customError") == true)
                #expect(try await page.has("[name=desired]"))
                // Without the script, as it were.
                try await page.evaluate("document.querySelector('form.stack').noValidate = true")
                try await page.follow("form.stack button.primary")
                #expect(try await page.text("[role=alert]")?.contains("line 2") == true)
                #expect(try await page.text(".mistake mark") == "n")
                #expect(
                    try await page.evaluate("document.querySelector('[name=desired]').value").string?.contains("nine")
                        == true)
                let after = try await bench.service.call(.GET, ["twins", oven, "modules", SampleFleet.module]).body
                #expect(after["etag"] == before["etag"])
            }
        }

        @Test func `What somebody else wrote meanwhile is not written over`() async throws {
            let bench = try DashboardBench.current
            let id = "scale-03"
            try await bench.signedIn { page in
                try await page.open("\(bench.address)/ui/devices/\(id)/editor")
                _ = try await bench.service.call(
                    .PATCH, ["twins", id], body: ["properties": ["desired": ["zero": 12]]])
                try await page.fill("[name=desired]", with: #"{"zero": 99}"#)
                try await page.follow("form.stack button.primary")
                #expect(try await page.text("[role=alert]")?.contains("Somebody else has changed the twin") == true)
                let twin = try await bench.service.call(.GET, ["twins", id]).body
                #expect(twin.at(["properties", "desired", "zero"]) == 12)
            }
        }

        @Test func `A method is called, and its answer or its refusal is shown in place`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(bench.address + PageTests.device)
                try await page.choose("form[action$='/method'] [name=module]", SampleFleet.module)
                try await page.fill("[name=method]", with: "status")
                try await page.click("form[action$='/method'] button")
                try await page.wait(
                    "the answer comes", "document.querySelector('#method-answer').innerText.includes('212.5')")
                #expect(try await page.text("#method-answer")?.contains("status 200") == true)
                try await page.choose("form[action$='/method'] [name=module]", "Recorder")
                try await page.click("form[action$='/method'] button")
                try await page.wait("nobody listens", "document.querySelector('#method-answer [role=alert]')")
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `A module's log is shown, and the module started again, through the device's own connection`()
            async throws
        {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(bench.address + PageTests.device)
                try await page.choose("[data-log-form] [name=module]", SampleFleet.module)
                try await page.wait(
                    "the lines come", "document.querySelector('.log').innerText.includes('heating to 210')")
                try await page.click("button[aria-label='Restart \(SampleFleet.module)']")
                try await page.wait(for: "\(SampleFleet.module) was restarted.")
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `A connection string is behind a click, and on no page before`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(bench.address + PageTests.device)
                #expect(
                    try await page.evaluate("document.documentElement.outerHTML.includes('SharedAccessKey')") == false)
                try await page.click("form[action$='/connection-string'] button")
                try await page.wait(
                    "it is shown",
                    "document.querySelector('#secret')?.innerText.startsWith('HostName=localhost;DeviceId=\(SampleFleet.ovens[0]);SharedAccessKey=')"
                )
                try await page.open(bench.address + PageTests.device)
                #expect(try await page.has("#secret") == false)
            }
        }

        @Test func `A device is registered and removed`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(bench.address)
                try await page.follow("a[href='/ui/new-device']")
                try await page.fill("[name=id]", with: "guest")
                try await page.fill("[name=tags]", with: #"{"site": "south"}"#)
                try await page.follow("form.stack button.primary")
                #expect(try await page.text("#secret")?.contains("DeviceId=guest") == true)
                try await page.follow("a.button.primary")
                #expect(try await page.text(".tags")?.contains("south") == true)
                try await page.evaluate(
                    "document.querySelectorAll('.danger').forEach((part) => { part.open = true; }); true")
                try await page.fill("[name=confirmation]", with: "gues")
                try await page.click("form[action$='/remove'] button")
                try await page.wait(for: "nothing was removed")
                try await page.fill("[name=confirmation]", with: "guest")
                try await page.follow("form[action$='/remove'] button")
                #expect(try await page.text("h1") == "Fleet")
                let left = try await bench.service.call(
                    .POST, ["devices", "query"],
                    body: ["query": "SELECT deviceId FROM devices WHERE deviceId = 'guest'"])
                #expect(left.body == [])
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `A deployment is made from a manifest, with its devices shown before, rolled back, and removed`()
            async throws
        {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(bench.address + "/ui/deployments")
                try await page.follow("a[href='/ui/new-deployment']")
                try await page.fill("[name=id]", with: "by-hand")
                try await page.fill("[name=condition]", with: "tags.site = 'south'")
                try await page.fill("[name=priority]", with: "3")
                let manifest = SampleFleet.manifest("3.0", period: 1).text(.pretty)
                // What is broken is told with its place.
                try await page.fill("[name=manifest]", with: manifest + "]")
                try await page.evaluate("document.querySelector('form.stack').noValidate = true")
                try await page.follow("button[value=check]")
                #expect(try await page.text("[role=alert]")?.contains("no JSON") == true)
                try await page.fill("[name=manifest]", with: manifest)
                try await page.fill("[name=condition]", with: "tags.site ~ 'south'")
                try await page.follow("button[value=check]")
                #expect(try await page.has("[role=alert]"))
                try await page.fill("[name=condition]", with: "tags.site = 'south'")
                try await page.follow("button[value=check]")
                let preview = try await page.text(".success")
                // Edge devices only: three ovens, and none of the scales of that site.
                #expect(preview?.contains("3 devices") == true)
                #expect(preview?.contains("oven-south-1") == true && preview?.contains("scale") == false)
                try await page.follow("button[value=create]")
                #expect(try await page.text("h1") == "by-hand")
                let made = try await bench.service.call(.GET, ["configurations", "by-hand"]).body
                #expect(made["priority"] == 3 && made["targetCondition"] == "tags.site = 'south'")
                try await page.evaluate(
                    "document.querySelectorAll('.danger').forEach((part) => { part.open = true; }); true")
                try await page.follow("form[action$='/rollback'] button")
                try await page.wait(
                    "nothing is targeted", "document.querySelector('.counts').innerText.startsWith('0')")
                let back = try await bench.service.call(.GET, ["configurations", "by-hand"]).body
                #expect(back["targetCondition"] == "")
                try await page.evaluate(
                    "document.querySelectorAll('.danger').forEach((part) => { part.open = true; }); true")
                try await page.fill("[name=confirmation]", with: "by-hand")
                try await page.follow("form[action$='/remove'] button")
                #expect(try await page.text("h1") == "Deployments")
                #expect(try await page.has("tr[data-key='by-hand']") == false)
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `Two deployments are compared leaf by leaf`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(
                    bench.address + "/ui/compare?a=\(SampleFleet.earlier)&b=\(SampleFleet.deployment)")
                let differences = try await page.text(".differences")
                #expect(differences?.contains("thermometer:2.0-arm64v8") == true)
                #expect(differences?.contains("thermometer:2.1-arm64v8") == true)
                #expect(differences?.contains("recorder") == false)
            }
        }

        @Test func `A condition is kept as a view, found again, and forgotten`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(bench.address)
                try await page.press("/", code: 191, text: "/")
                try await page.wait("the key leads to the filter", "document.activeElement?.id === 'filter'")
                try await page.fill("#filter", with: "tags.kind = 'oven'")
                try await page.follow("form.filter button.primary")
                #expect(try await page.evaluate("document.querySelectorAll('tbody tr').length") == 6)
                try await page.fill("[name=name]", with: "All ovens")
                try await page.follow("button[value=save]")
                #expect(try await page.text(".chips [aria-current]") == "All ovens")
                try await page.fill("[name=name]", with: "All ovens")
                try await page.follow("button[value=remove]")
                #expect(try await page.text(".chips")?.contains("All ovens") == false)
                // A mistake is told with its place.
                try await page.open(bench.address + "/?where=tags.site%20%3D%3D%3D%20%27north%27")
                #expect(try await page.text("[role=alert]")?.contains("column") == true)
                #expect(page.complaints.isEmpty, "\(page.complaints)")
            }
        }

        @Test func `Messages are exported as lines of JSON`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.open(bench.address + "/ui/messages")
                let lines =
                    try await page.evaluate(
                        """
                        fetch('/ui/export?since=1h&device=\(SampleFleet.ovens[0])').then(async (answer) =>
                            [answer.headers.get('content-disposition'), ...(await answer.text()).trim().split('\\n')])
                        """
                    ).array ?? []
                #expect(lines.first?.string?.contains("messages.jsonl") == true)
                #expect(lines.count > 24)
                let event = try JSONValue(parsing: lines.dropFirst().first?.string ?? "")
                #expect(event["moduleId"]?.string == SampleFleet.module)
                #expect(event.at(["body", "temperature"])?.double != nil)
            }
        }

        @Test func `A page is gone through with keys alone`() async throws {
            let bench = try DashboardBench.current
            try await bench.signedIn { page in
                try await page.press("?", code: 191, text: "?")
                try await page.wait("the keys are listed", "document.getElementById('shortcuts').open")
                try await page.press("Escape", code: 27)
                try await page.wait("and go away", "!document.getElementById('shortcuts').open")
                try await page.press("j", code: 74, text: "j")
                let first = try await page.evaluate("document.activeElement.innerText").string
                try await page.press("j", code: 74, text: "j")
                let second = try await page.evaluate("document.activeElement.innerText").string
                #expect(
                    first != second && second?.isEmpty == false,
                    "\(first?.prefix(80) ?? "nothing"), then \(second?.prefix(80) ?? "nothing")")
                // From the top, the first Tab offers to leave out the navigation.
                try await page.evaluate("document.activeElement.blur(); window.focus(); true")
                try await page.open(bench.address)
                try await page.press("Tab", code: 9)
                #expect(try await page.evaluate("document.activeElement.className") == "skip")
                try await page.press("g", code: 71, text: "g")
                try await page.press("d", code: 68, text: "d")
                try await page.wait("the deployments come", "document.querySelector('h1')?.innerText === 'Deployments'")
            }
        }
    }
}
