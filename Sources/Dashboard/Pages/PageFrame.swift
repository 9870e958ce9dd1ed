/// What stands around every page.
enum PageFrame {
    static func html(_ page: Page, visit: Visit) -> HTML {
        let stream: HTML = page.stream.map { " data-stream=\"\($0)\"" } ?? .empty
        let trail: HTML =
            page.trail.isEmpty
            ? .empty
            : """
            <nav class="trail" aria-label="Where this is">\(.joined(page.trail.map { "<a href=\"\($0.address)\">\($0.name)</a> <span aria-hidden=\"true\">/</span> " }))</nav>
            """
        return document(
            title: page.title,
            body: """
                <body\(stream)>
                <a class="skip" href="#content">To the content</a>
                <div class="shell">
                <header class="rail">
                <a class="brand" href="/">\(Hedge.mark)<span>Hedgerow</span></a>
                \(navigation(page, visit))
                \(account(visit))
                </header>
                <main id="content" tabindex="-1">
                <div class="heading"><div>\(trail)<h1>\(page.title)</h1></div><div class="actions">\(page.actions)</div></div>
                \(page.content)
                </main>
                </div>
                \(shortcuts)
                <div id="connection" class="connection" role="status" aria-live="polite" hidden>The hub does not answer; trying again…</div>
                </body>
                """)
    }

    static func document(title: String, body: HTML) -> HTML {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>\(title) – Hedgerow</title>
        <link rel="icon" href="/ui/assets/favicon.svg" type="image/svg+xml">
        <link rel="stylesheet" href="/ui/assets/style.css">
        <script src="/ui/assets/theme.js"></script>
        <script src="/ui/assets/live.js" defer></script>
        </head>
        \(body)
        </html>
        """
    }

    private static func navigation(_ page: Page, _ visit: Visit) -> HTML {
        let places = Page.Place.allCases.filter { $0 != .users || visit.may(.users) }
        let links = places.map { place -> HTML in
            let current: HTML = page.place == place ? " aria-current=\"page\"" : .empty
            return "<li><a href=\"\(place.rawValue)\"\(current)>\(place.name)</a></li>"
        }
        return "<nav aria-label=\"Pages\"><ul>\(.joined(links))</ul></nav>"
    }

    private static func account(_ visit: Visit) -> HTML {
        """
        <div class="account">
        <p><strong>\(visit.session.name)</strong><br><span class="quiet">\(visit.session.role) on \(visit.hub.hub.hostName)</span></p>
        <div class="row">
        <button type="button" class="plain" data-theme-switch>Light or dark</button>
        <button type="button" class="plain" data-dialog="shortcuts" aria-keyshortcuts="?">Keys</button>
        <form method="post" action="/ui/sign-out">\(visit.formToken)<button class="plain">Sign out</button></form>
        </div>
        </div>
        """
    }

    private static let shortcuts: HTML = """
        <dialog id="shortcuts" aria-labelledby="shortcuts-title">
        <h2 id="shortcuts-title">Keys</h2>
        <dl class="keys">
        <dt><kbd>/</kbd></dt><dd>to the filter</dd>
        <dt><kbd>g</kbd> <kbd>f</kbd></dt><dd>fleet</dd>
        <dt><kbd>g</kbd> <kbd>d</kbd></dt><dd>deployments</dd>
        <dt><kbd>g</kbd> <kbd>m</kbd></dt><dd>messages</dd>
        <dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>down and up a table</dd>
        <dt><kbd>t</kbd></dt><dd>light or dark</dd>
        <dt><kbd>?</kbd></dt><dd>this list</dd>
        </dl>
        <form method="dialog"><button>Close</button></form>
        </dialog>
        """
}

enum SignInPage {
    static func html(hub: String, refusal: String?, name: String?) -> HTML {
        let note: HTML = refusal.map { Notice.refusal($0) } ?? .empty
        return PageFrame.document(
            title: "Sign in",
            body: """
                <body class="door">
                <main id="content">
                <div class="door-card">
                <p class="brand">\(Hedge.mark)<span>Hedgerow</span></p>
                <h1>Sign in</h1>
                <p class="quiet">to the hub <strong>\(hub)</strong></p>
                \(note)
                <form class="stack" method="post" action="/ui/sign-in">
                <label>Name <input name="username" autocomplete="username" autocapitalize="none" spellcheck="false" value="\(name ?? "")" required autofocus></label>
                <label>Password, or key of a policy <input name="password" type="password" autocomplete="current-password" required></label>
                <button class="primary">Sign in</button>
                </form>
                <details><summary>Where do I get these?</summary>
                <p>A user is made on the hub’s machine:</p>
                <pre>hedgerow user add anna --role operator --data DIR</pre>
                <p>Or take the policy <code>iothubowner</code> with its key, the <code>SharedAccessKey</code> of</p>
                <pre>hedgerow hub connection-string --data DIR</pre>
                </details>
                </div>
                \(Hedge.row(of: [("good", 1)], label: nil, blades: 160))
                </main>
                </body>
                """)
    }
}
