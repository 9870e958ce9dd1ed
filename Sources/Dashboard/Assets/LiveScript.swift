enum LiveScript {
    /// Fetches the live parts of a page anew when the hub says that something changed, and writes messages as they come.
    static let text = """
        'use strict';
        (() => {
          const parts = document.querySelectorAll('[data-live]');
          let waiting = false, again = false;
          const refresh = async () => {
            if (waiting) { again = true; return; }
            waiting = true;
            for (const part of parts) {
              try {
                const answer = await fetch(part.dataset.live, { credentials: 'same-origin' });
                if (answer.redirected) { location.reload(); return; }
                if (answer.ok) part.innerHTML = await answer.text();
              } catch { /* the stream of changes reconnects and asks again */ }
            }
            setTimeout(() => { waiting = false; if (again) { again = false; refresh(); } }, 500);
          };
          if (parts.length) {
            const changes = new EventSource('/ui/changes');
            changes.addEventListener('change', refresh);
            changes.addEventListener('open', refresh);
            addEventListener('pagehide', () => changes.close());
          }
          for (const list of document.querySelectorAll('[data-events]')) {
            const events = new EventSource(list.dataset.events);
            events.onmessage = (message) => {
              const event = JSON.parse(message.data);
              const line = document.createElement('li');
              const sender = event.deviceId + (event.moduleId ? '/' + event.moduleId : '');
              const properties = Object.entries(event.properties || {}).map(([k, v]) => k + '=' + v).join(' ');
              const body = typeof event.body === 'string' ? event.body : JSON.stringify(event.body ?? event.bodyBase64);
              line.textContent = [event.enqueuedTime.slice(11, 19), sender, properties, body].join('  ');
              list.prepend(line);
              while (list.children.length > 200) list.lastChild.remove();
            };
            addEventListener('pagehide', () => events.close());
          }
        })();
        """
}
