import Foundation
import JSONDocument
import Synchronization
import Testing

/// A page with cookies and a store of its own, as a person on another machine would have it.
final class BrowserPage: Sendable {
    enum Look: String, Sendable, CaseIterable { case light, dark }

    private let browser: Browser
    private let context: String
    private let target: String
    private let session: String
    private let heard = Mutex<[String]>([])

    init(_ browser: Browser) async throws {
        self.browser = browser
        context = try await browser.call("Target.createBrowserContext")["browserContextId"]?.string ?? ""
        target =
            try await browser.call(
                "Target.createTarget",
                [
                    "url": "about:blank", "browserContextId": .string(context), "newWindow": true, "width": 1280,
                    "height": 900,
                ])["targetId"]?.string ?? ""
        session =
            try await browser.call("Target.attachToTarget", ["targetId": .string(target), "flatten": true])[
                "sessionId"]?.string ?? ""
        browser.listen(to: session) { [weak self] method, parameters in
            guard let complaint = Self.complaint(method, parameters) else { return }
            self?.heard.withLock { $0.append(complaint) }
        }
        for domain in ["Page", "Runtime", "Log", "Audits"] { try await call("\(domain).enable") }
        try await call("Emulation.setFocusEmulationEnabled", ["enabled": true])
    }

    func close() async {
        _ = try? await browser.call("Target.disposeBrowserContext", ["browserContextId": .string(context)])
    }

    @discardableResult
    func call(_ method: String, _ parameters: JSONValue = [:]) async throws -> JSONValue {
        try await browser.call(method, parameters, session: session)
    }

    // MARK: What the browser complains of

    /// Errors in the console, failed requests and broken policies since the page was made.
    var complaints: [String] { heard.withLock { $0 } }

    private static func complaint(_ method: String, _ parameters: JSONValue) -> String? {
        switch method {
        case "Log.entryAdded":
            guard let entry = parameters["entry"], entry["level"] == "error" else { return nil }
            return "\(entry["text"]?.string ?? "") \(entry["url"]?.string ?? "")"
        case "Runtime.consoleAPICalled":
            guard parameters["type"] == "error" || parameters["type"] == "assert" else { return nil }
            return "console: \((parameters["args"] ?? .null).text())"
        case "Runtime.exceptionThrown":
            let details = parameters["exceptionDetails"]
            return "exception: \(details?.at(["exception", "description"])?.string ?? details?["text"]?.string ?? "")"
        case "Audits.issueAdded":
            guard parameters.at(["issue", "code"]) == "ContentSecurityPolicyIssue" else { return nil }
            return "policy: \((parameters["issue"] ?? .null).text())"
        default: return nil
        }
    }

    // MARK: Going about

    /// Opens an address and waits until everything of it is there.
    func open(_ address: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await evaluate("window.isLeft = true")
        let answer = try await call("Page.navigate", ["url": .string(address)])
        #expect(answer["errorText"] == nil, "\(address): \(answer.text())", sourceLocation: sourceLocation)
        try await waitForPage("\(address) opens", sourceLocation)
    }

    /// Presses what leads to another page, and waits for that.
    func follow(_ selector: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await evaluate("window.isLeft = true; \(Self.find(selector)).click(); true")
        try await waitForPage("\(selector) leads on", sourceLocation)
    }

    private func waitForPage(_ why: Comment, _ sourceLocation: SourceLocation) async throws {
        try await wait(
            why, "!window.isLeft && document.readyState === 'complete'", sourceLocation: sourceLocation)
    }

    /// The value of an expression in the page; of a promise, what it brings.
    @discardableResult
    func evaluate(_ script: String) async throws -> JSONValue {
        let answer = try await call(
            "Runtime.evaluate",
            ["expression": .string(script), "awaitPromise": true, "returnByValue": true, "userGesture": true])
        if let problem = answer["exceptionDetails"] {
            throw Browser.Failure(
                description: problem.at(["exception", "description"])?.string ?? problem["text"]?.string ?? script)
        }
        return answer.at(["result", "value"]) ?? .null
    }

    /// Waits until an expression is true, on this page or one that it leads to.
    func wait(_ why: Comment, _ condition: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let found = try await eventually(within: .seconds(240), every: .milliseconds(60)) { () -> Bool? in
            // Between two pages there is nothing to ask.
            (try? await evaluate("!!(\(condition))")) == true ? true : nil
        }
        if found == nil {
            let text = (try? await evaluate("location.href + '\\n' + document.body.innerText"))?.string ?? ""
            try #require(found == true, "\(why): \(text.prefix(3000)) \(complaints)", sourceLocation: sourceLocation)
        }
    }

    /// Waits until a text is to be read.
    func wait(for text: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await wait(
            "'\(text)' is shown", "document.body?.innerText.includes(\(Self.quoted(text)))",
            sourceLocation: sourceLocation)
    }

    /// What a person reads in the first element of the selector; nil when there is none.
    func text(_ selector: String = "body") async throws -> String? {
        try await evaluate("document.querySelector(\(Self.quoted(selector)))?.innerText ?? null").string
    }

    func has(_ selector: String) async throws -> Bool {
        try await evaluate("!!document.querySelector(\(Self.quoted(selector)))") == true
    }

    // MARK: Hands

    /// Types into a field, in place of what it holds, and waits until it holds that.
    func fill(
        _ selector: String, with text: String, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        try await evaluate("{ const field = \(Self.find(selector)); field.focus(); field.select(); true }")
        try await call("Input.insertText", ["text": .string(text)])
        // Typing goes another way through the browser than what is asked of the page.
        try await wait(
            "\(selector) holds what was typed", "\(Self.find(selector)).value === \(Self.quoted(text))",
            sourceLocation: sourceLocation)
    }

    func choose(_ selector: String, _ value: String) async throws {
        try await evaluate(
            "{ const field = \(Self.find(selector)); field.value = \(Self.quoted(value)); "
                + "field.dispatchEvent(new Event('change', { bubbles: true })); true }")
    }

    /// Presses something that stays on the page.
    func click(_ selector: String) async throws { try await evaluate("\(Self.find(selector)).click(); true") }

    /// One key; `text` for those that write something.
    func press(_ key: String, code: Int = 0, text: String? = nil) async throws {
        var parameters: JSONObject = ["key": .string(key), "windowsVirtualKeyCode": JSONValue(code)]
        parameters["text"] = text.map { .string($0) }
        for kind in [text == nil ? "rawKeyDown" : "keyDown", "keyUp"] {
            parameters["type"] = .string(kind)
            try await call("Input.dispatchKeyEvent", .object(parameters))
        }
    }

    // MARK: Eyes

    /// - Parameter width: of the window in points; below 640 as a phone.
    func look(_ look: Look, width: Int = 1280, height: Int = 900, scale: Int = 1) async throws {
        try await call(
            "Emulation.setEmulatedMedia",
            [
                "features": [
                    ["name": "prefers-color-scheme", "value": .string(look.rawValue)],
                    ["name": "prefers-reduced-motion", "value": "reduce"],
                ]
            ])
        try await call(
            "Emulation.setDeviceMetricsOverride",
            [
                "width": JSONValue(width), "height": JSONValue(height), "deviceScaleFactor": JSONValue(scale),
                "mobile": .bool(width < 640),
            ])
    }

    func screenshot() async throws -> Data {
        let answer = try await call("Page.captureScreenshot", ["format": "png", "optimizeForSpeed": false])
        return try #require(Data(base64Encoded: answer["data"]?.string ?? ""))
    }

    private static func find(_ selector: String) -> String { "document.querySelector(\(quoted(selector)))" }

    static func quoted(_ text: String) -> String { JSONValue(text).text() }
}
