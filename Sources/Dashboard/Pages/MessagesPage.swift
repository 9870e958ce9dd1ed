/// The messages of all devices as they arrive.
enum MessagesPage {
    static func html(_ visit: Visit) -> HTML {
        visit.page(
            "Messages",
            """
            <p class="hint">New messages appear at the top; the last 200 are kept.</p>
            <ol class="messages" data-events="/ui/events" aria-live="polite"></ol>
            """)
    }
}
