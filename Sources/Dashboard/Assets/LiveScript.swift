enum LiveScript {
    /// Keeps open pages up to date, and makes them pleasant with a keyboard. Pages work without it, but do not move.
    static let text = [pages, forms, messages, keys].joined(separator: "\n")

    /// Renews live parts when the hub tells of a change: node by node, so that focus, selection and open details stay.
    private static let pages = #"""
        'use strict';
        const all = (selector, root = document) => [...root.querySelectorAll(selector)];
        const element = (name, className, text) => {
          const made = document.createElement(name);
          if (className) made.className = className;
          if (text !== undefined) made.textContent = text;
          return made;
        };
        const key = (node) => node.nodeType === 1 ? node.getAttribute('data-key') : null;
        const morph = (now, next) => {
          if (now.nodeType !== next.nodeType || now.nodeName !== next.nodeName || key(now) !== key(next)) { now.replaceWith(next); return; }
          if (now.nodeType === 3) { if (now.data !== next.data) now.data = next.data; return; }
          if (now.nodeType !== 1 || now.hasAttribute('data-keep') || now.contains(document.activeElement) && /^(INPUT|SELECT|TEXTAREA)$/.test(now.nodeName)) return;
          for (const { name } of [...now.attributes]) if (!next.hasAttribute(name) && name !== 'open') now.removeAttribute(name);
          for (const { name, value } of [...next.attributes]) if (now.getAttribute(name) !== value && name !== 'open') now.setAttribute(name, value);
          morphChildren(now, next);
        };
        const morphChildren = (now, next) => {
          const wanted = [...next.childNodes];
          const keyed = new Map([...now.children].filter(key).map((child) => [key(child), child]));
          const isTable = now.nodeName === 'TBODY';
          let place = now.firstChild;
          for (const child of wanted) {
            const known = key(child) && keyed.get(key(child));
            if (known && known !== place) { now.insertBefore(known, place); place = known; }
            if (place && !(key(child) && !known)) { const after = place.nextSibling; morph(place, child); place = after; }
            else { now.insertBefore(child, place); if (isTable && child.nodeType === 1) child.classList.add('fresh'); }
          }
          while (place) { const after = place.nextSibling; place.remove(); place = after; }
        };
        const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
        const localise = (root) => {
          for (const time of all('time[datetime]', root)) {
            const moment = new Date(time.dateTime);
            if (!isNaN(moment)) { time.textContent = zoned.format(moment); time.title = time.dateTime; }
          }
        };
        localise(document);
        const parts = all('[data-live]');
        let isRenewing = false, isStale = false;
        const renew = async () => {
          if (document.hidden) { isStale = true; return; }
          if (isRenewing) { isStale = true; return; }
          isRenewing = true; isStale = false;
          const began = performance.now();
          for (const part of parts) {
            try {
              const answer = await fetch(part.dataset.live, { headers: { 'x-fragment': '1' } });
              const elsewhere = answer.headers.get('x-location');
              if (elsewhere) { location.assign(elsewhere); return; }
              if (!answer.ok) continue;
              const holder = element('div');
              holder.innerHTML = await answer.text();
              localise(holder);
              const focused = document.activeElement;
              morphChildren(part, holder);
              // A row that moves to another place loses the focus on its way.
              if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
            } catch { /* the stream connects again and renews then */ }
          }
          // What takes the hub long is asked for less often.
          const pause = Math.max(400, 4 * (performance.now() - began));
          setTimeout(() => { isRenewing = false; if (isStale) renew(); }, pause);
        };
        const listeners = { message: [], rate: [] };
        let stream = null;
        const connect = () => {
          const address = document.body.dataset.stream;
          if (!address || stream) return;
          stream = new EventSource(address);
          let hasOpened = false;
          stream.onopen = () => { hasOpened = true; document.getElementById('connection').hidden = true; document.documentElement.dataset.connected = 'yes'; renew(); };
          stream.onerror = () => {
            if (hasOpened) document.getElementById('connection').hidden = stream.readyState === EventSource.OPEN;
          };
          stream.addEventListener('change', renew);
          for (const name of Object.keys(listeners)) stream.addEventListener(name, (event) => listeners[name].forEach((f) => f(event.data)));
          stream.addEventListener('refusal', (event) => refused(JSON.parse(event.data)));
        };
        const refused = (text) => {
          stream?.close();
          const place = document.querySelector('[data-stream-refusal]');
          if (!place) return;
          const note = element('p', 'refusal', text);
          note.setAttribute('role', 'alert');
          place.replaceChildren(note);
        };
        const disconnect = () => { stream?.close(); stream = null; };
        // Browsers open few connections to a host: pages that nobody sees give theirs back.
        addEventListener('visibilitychange', () => document.hidden ? disconnect() : connect());
        addEventListener('pagehide', disconnect);
        addEventListener('pageshow', (event) => { if (event.persisted) connect(); });
        """#

    /// Forms whose answers appear in place, checked JSON, files into fields, copying.
    private static let forms = #"""
        addEventListener('submit', async (event) => {
          const form = event.target;
          if (!form.dataset.inline) return;
          event.preventDefault();
          const place = document.querySelector(form.dataset.inline);
          const button = event.submitter;
          if (button) button.disabled = true;
          place.replaceChildren(element('p', 'quiet', 'Waiting for the answer…'));
          try {
            const answer = await fetch(form.action, { method: 'POST', headers: { 'x-fragment': '1' }, body: new URLSearchParams(new FormData(form, button)) });
            const elsewhere = answer.headers.get('x-location');
            if (elsewhere) { location.assign(elsewhere); return; }
            place.innerHTML = await answer.text();
            localise(place);
          } catch { place.replaceChildren(element('p', 'refusal', 'The hub does not answer.')); }
          if (button) button.disabled = false;
        });
        const checkJSON = (field) => {
          let problem = '';
          try { if (field.value.trim()) JSON.parse(field.value); } catch (error) { problem = error.message; }
          field.setCustomValidity(problem && 'No JSON: ' + problem);
          field.toggleAttribute('aria-invalid', false);
          if (problem) field.setAttribute('aria-invalid', 'true');
        };
        addEventListener('input', (event) => { if (event.target.matches?.('[data-json]')) checkJSON(event.target); });
        addEventListener('change', async (event) => {
          const name = event.target.dataset?.into;
          if (!name || !event.target.files[0]) return;
          const field = event.target.form.elements[name];
          field.value = await event.target.files[0].text();
          checkJSON(field);
        });
        addEventListener('click', async (event) => {
          const button = event.target.closest?.('button');
          if (!button) return;
          if (button.dataset.copy) {
            try { await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent); button.textContent = 'Copied'; }
            catch { getSelection().selectAllChildren(document.querySelector(button.dataset.copy)); }
          }
          if (button.dataset.dialog) document.getElementById(button.dataset.dialog).showModal();
          if ('themeSwitch' in button.dataset) switchTheme();
        });
        for (const panel of all('[data-logs]')) {
          const form = panel.querySelector('form'), lines = panel.querySelector('.log'), note = panel.querySelector('.log-note');
          let timer = null, isAsking = false;
          const ask = async () => {
            if (isAsking) return;
            isAsking = true;
            const data = new FormData(form);
            const query = new URLSearchParams({ module: data.get('module'), tail: data.get('tail') });
            try {
              const answer = await fetch(panel.dataset.logs + '?' + query, { headers: { 'x-fragment': '1' } });
              const holder = element('div');
              holder.innerHTML = await answer.text();
              const refusal = holder.querySelector('.refusal');
              note.replaceChildren(...(refusal ? [refusal] : []));
              if (!refusal) {
                const atEnd = lines.hidden || lines.scrollTop + lines.clientHeight > lines.scrollHeight - 30;
                if (lines.textContent !== holder.textContent) lines.textContent = holder.textContent || 'The log is empty.';
                lines.hidden = false;
                if (atEnd) lines.scrollTop = lines.scrollHeight;
              }
            } catch { note.textContent = 'The hub does not answer.'; }
            isAsking = false;
            clearTimeout(timer);
            if (form.elements.follow.checked && !document.hidden) timer = setTimeout(ask, 2000);
          };
          form.addEventListener('submit', (event) => { event.preventDefault(); ask(); });
          form.addEventListener('change', ask);
          addEventListener('visibilitychange', () => { if (!document.hidden && form.elements.follow.checked) ask(); });
        }
        """#

    /// Messages as lines, the rate, and the numbers in them as charts.
    private static let messages = #"""
        const draw = (svg, values, from = null) => {
          const name = 'http://www.w3.org/2000/svg', width = 480, height = 120, left = 44;
          const node = (kind, attributes, text) => {
            const made = document.createElementNS(name, kind);
            for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
            if (text !== undefined) made.textContent = text;
            return made;
          };
          svg.replaceChildren();
          if (values.length < 2) return;
          let low = from ?? Math.min(...values), high = Math.max(...values);
          if (high === low) { high += 1; if (from === null) low -= 1; }
          const x = (i) => left + i * (width - left - 4) / (values.length - 1), y = (v) => height - 12 - (v - low) * (height - 24) / (high - low);
          const short = (v) => Math.abs(v) >= 1e6 ? v.toExponential(1) : String(+v.toPrecision(4));
          for (const value of [low, (low + high) / 2, high]) {
            svg.append(node('line', { class: 'grid', x1: left, x2: width, y1: y(value), y2: y(value) }), node('text', { x: left - 6, y: y(value) + 3, 'text-anchor': 'end' }, short(value)));
          }
          const points = values.map((v, i) => x(i).toFixed(1) + ' ' + y(v).toFixed(1));
          svg.append(node('path', { class: 'area', d: `M${points.join('L')}L${x(values.length - 1)} ${height - 12}L${left} ${height - 12}Z` }), node('path', { class: 'line', d: 'M' + points.join('L') }));
        };
        for (const panel of all('[data-messages]')) {
          const list = panel.querySelector('.messages'), rates = Array(120).fill(0), fields = new Map();
          const select = panel.querySelector('[data-field]'), pause = panel.querySelector('[data-pause]'), skipped = panel.querySelector('[data-skipped]');
          const keep = 240;
          let isPaused = false, halves = [], seen = 0, counted = 0, isDue = false;
          // What was kept comes at once, and says nothing of how many come now.
          let isCatchingUp = /[?&]since=/.test(document.body.dataset.stream);
          const number = (path, value) => {
            if (!fields.has(path)) {
              if (fields.size >= 60) return;
              fields.set(path, []);
              const option = element('option', '', path);
              option.value = path;
              if (fields.size === 1) select.replaceChildren();
              select.append(option);
            }
            const values = fields.get(path);
            values.push(value);
            if (values.length > keep) values.shift();
          };
          const walk = (path, value, depth) => {
            if (typeof value === 'number') number(path, value);
            else if (value && typeof value === 'object' && depth < 5) for (const [name, inner] of Object.entries(value).slice(0, 40)) walk(path ? path + '.' + name : name, inner, depth + 1);
          };
          const drawField = () => {
            isDue = false;
            draw(panel.querySelector('[data-chart=field]'), fields.get(select.value) || []);
          };
          const due = () => { if (!isDue) { isDue = true; requestAnimationFrame(drawField); } };
          listeners.message.push((data) => {
            const event = JSON.parse(data);
            seen += 1;
            let body = event.body;
            if (typeof body === 'string' && /^\s*[{\[]/.test(body)) { try { body = JSON.parse(body); } catch { /* a text, then */ } }
            walk('', body, 0);
            due();
            if (isPaused) return;
            panel.querySelector('[data-none]').hidden = true;
            const line = element('li'), content = element('span', 'body');
            line.append(element('span', 'when', new Date(event.enqueuedTime).toLocaleTimeString()), element('span', 'sender', event.deviceId + (event.moduleId ? '/' + event.moduleId : '')), content);
            for (const [name, value] of Object.entries(event.properties || {})) content.append(element('span', 'property', name + '=' + value));
            content.append(typeof body === 'string' ? body : JSON.stringify(body ?? event.bodyBase64));
            list.prepend(line);
            while (list.children.length > 200) list.lastChild.remove();
          });
          listeners.rate.push((data) => {
            counted += +data;
            if (isCatchingUp) { isCatchingUp = +data > 40; return; }
            halves.push(+data);
            if (halves.length < 2) return;
            rates.push(halves[0] + halves[1]);
            rates.shift();
            halves = [];
            panel.querySelector('[data-rate]').textContent = rates[rates.length - 1].toLocaleString();
            draw(panel.querySelector('[data-chart=rate]'), rates, 0);
            skipped.textContent = counted > seen ? (counted - seen).toLocaleString() + ' more were counted and not shown.' : '';
          });
          draw(panel.querySelector('[data-chart=rate]'), rates, 0);
          select.addEventListener('change', due);
          pause.addEventListener('click', () => { isPaused = !isPaused; pause.setAttribute('aria-pressed', isPaused); pause.textContent = isPaused ? 'Go on' : 'Pause'; });
          panel.querySelector('[data-clear]').addEventListener('click', () => { list.replaceChildren(); panel.querySelector('[data-none]').hidden = false; });
        }
        connect();
        """#

    private static let keys = #"""
        const switchTheme = () => {
          const root = document.documentElement;
          const isDark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
          root.dataset.theme = isDark ? 'light' : 'dark';
          try { localStorage.setItem('theme', root.dataset.theme); } catch { /* lasts for this page, then */ }
        };
        let isGoing = false;
        addEventListener('keydown', (event) => {
          if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.('input, select, textarea, dialog')) return;
          const places = { f: '/', d: '/ui/deployments', m: '/ui/messages' };
          if (isGoing) { isGoing = false; if (places[event.key]) location.assign(places[event.key]); return; }
          const dialog = document.getElementById('shortcuts');
          if (!dialog) return;
          switch (event.key) {
            case 'g': isGoing = true; setTimeout(() => { isGoing = false; }, 1500); return;
            case '/': { const field = document.getElementById('filter'); if (field) { event.preventDefault(); field.focus(); field.select(); } return; }
            case '?': dialog.showModal(); return;
            case 't': switchTheme(); return;
            case 'j': case 'k': {
              const links = all('tbody th a');
              if (!links.length) return;
              const place = links.indexOf(document.activeElement) + (event.key === 'j' ? 1 : -1);
              links[Math.max(0, Math.min(links.length - 1, place))].focus();
            }
          }
        });
        """#
}
