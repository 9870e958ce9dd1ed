/// Messages as they come, with charts; filled by the script from the page's stream.
enum MessagePanel {
    static func html(device: String?, height: String) -> HTML {
        """
        <section aria-labelledby="messages-title" data-messages><div class="section-head"><h2 id="messages-title">Messages</h2>
        <p class="quiet rate" aria-live="off"><b data-rate>0</b> a second</p></div>
        <div class="charts">
        <figure><figcaption>Rate, last two minutes</figcaption><svg data-chart="rate" viewBox="0 0 480 120" role="img" aria-label="Messages a second"></svg></figure>
        <figure><figcaption><label>Field <select data-field aria-label="Field that the chart shows"><option value="">no number yet</option></select></label></figcaption>
        <svg data-chart="field" viewBox="0 0 480 120" role="img" aria-label="Values of the field"></svg></figure>
        </div>
        <p class="row"><button type="button" data-pause aria-pressed="false">Pause</button> <button type="button" class="plain" data-clear>Clear</button>
        <span class="quiet" data-skipped></span></p>
        <ol class="messages \(height)" tabindex="0" aria-label="Latest messages, newest first"></ol>
        <p class="nothing" data-none>Waiting for messages\(device.map { " of \($0)" } ?? "")…</p>
        </section>
        """
    }
}

/// The messages of all devices as they arrive.
enum MessagesPage {
    static func page(_ visit: Visit) -> Page {
        let names = ["device", "module", "where", "since"]
        let pairs = names.filter { !visit.parameter($0).isEmpty }.map { "\($0)=\(visit.parameter($0).urlEncoded)" }
        let query = pairs.joined(separator: "&")
        return Page(
            title: "Messages", place: .messages,
            actions:
                "<a class=\"button\" href=\"/ui/export?\(query)\" download=\"messages.jsonl\">Export as JSON lines</a>",
            content: """
                <form class="filter" method="get" action="/ui/messages" role="search">
                <label class="short">Device <input name="device" value="\(visit.parameter("device"))" spellcheck="false" autocapitalize="none"></label>
                <label class="short">Module <input name="module" value="\(visit.parameter("module"))" spellcheck="false" autocapitalize="none"></label>
                <label>Condition <input id="filter" name="where" value="\(visit.parameter("where"))" placeholder="level = 'high' AND $body.temperature &gt; 30" spellcheck="false" autocapitalize="none" aria-keyshortcuts="/"></label>
                <label class="short">Since <input name="since" value="\(visit.parameter("since"))" placeholder="now, or 10m"></label>
                <button class="primary">Show</button></form>
                <details class="help"><summary>How conditions are written</summary><p>As in routes: application properties by name \
                (<code>level = 'high'</code>), system properties with a dollar (<code>$contentType = 'application/json'</code>), the body of JSON messages \
                (<code>$body.temperature &gt; 30</code>). Times back from now: <code>90s</code>, <code>10m</code>, <code>2h</code>, <code>1d</code>. \
                The export holds every message that is kept and fits, oldest first.</p></details>
                <div data-stream-refusal></div>
                \(MessagePanel.html(device: nil, height: "tall"))
                """, stream: "/ui/stream?messages\(query.isEmpty ? "" : "&" + query)")
    }
}
