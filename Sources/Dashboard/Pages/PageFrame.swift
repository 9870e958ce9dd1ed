/// What stands around every page.
enum PageFrame {
    static func html(title: String, hub: String, visit: Visit?, content: HTML) -> HTML {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>\(title) – Hedgerow</title>
        <link rel="icon" href="/ui/assets/favicon.svg" type="image/svg+xml">
        <link rel="stylesheet" href="/ui/assets/style.css">
        <script src="/ui/assets/live.js" defer></script>
        </head>
        <body>
        <a class="skip" href="#content">To the content</a>
        <header>
        <a class="brand" href="/">Hedgerow</a>
        \(navigation(hub: hub, visit))
        </header>
        <main id="content">
        <h1>\(title)</h1>
        \(content)
        </main>
        </body>
        </html>
        """
    }

    private static func navigation(hub: String, _ visit: Visit?) -> HTML {
        guard let visit else { return .empty }
        return """
            <nav aria-label="Pages">
            <a href="/">Fleet</a> <a href="/ui/deployments">Deployments</a> <a href="/ui/messages">Messages</a>
            </nav>
            <form method="post" action="/ui/sign-out">\(visit.formToken)
            <span>\(visit.session.policy) on \(hub)</span> <button>Sign out</button></form>
            """
    }
}

enum SignInPage {
    static func html(refusal: String?) -> HTML {
        let note: HTML = refusal.map { "<p class=\"refusal\" role=\"alert\">\($0)</p>" } ?? .empty
        return PageFrame.html(
            title: "Sign in", hub: "", visit: nil,
            content: """
                \(note)
                <form class="sign-in" method="post" action="/ui/sign-in">
                <label>Name of a policy <input name="username" autocomplete="username" value="iothubowner" required></label>
                <label>Its key <input name="password" type="password" autocomplete="current-password" required></label>
                <button>Sign in</button>
                </form>
                <p class="hint">The key stands in the connection string: <code>hedgerow hub connection-string --data DIR</code></p>
                """)
    }
}
