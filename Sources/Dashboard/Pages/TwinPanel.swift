import JSONDocument
import NIOHTTP1
import Transport

/// The twin of a device or module: what is wanted, what is reported, and where the two differ.
enum TwinPanel {
    static func html(_ visit: Visit, _ device: Device) async throws -> HTML {
        let module = visit.parameter("module")
        let choices = [""] + device.modules.map(\.id)
        let links = choices.map { id -> HTML in
            let address =
                id.isEmpty ? DevicePage.address(device.id) : "\(DevicePage.address(device.id))?module=\(id.urlEncoded)"
            return
                "<li><a href=\"\(address)#twin\"\(id == module ? " aria-current=\"true\"" : .empty)>\(id.isEmpty ? "the device" : id)</a></li>"
        }
        let query = module.isEmpty ? "" : "?module=\(module.urlEncoded)"
        let edit: HTML =
            visit.may(.operate)
            ? "<a class=\"button\" href=\"\(DevicePage.address(device.id))/editor\(query)\">Edit</a>" : .empty
        let twin = module.isEmpty ? device.twin : device.modules.first { $0.id == module }?.twin
        return """
            <section id="twin" aria-labelledby="twin-title"><div class="section-head"><h2 id="twin-title">Twin</h2>\(edit)</div>
            <nav class="chips" aria-label="Twins"><ul>\(.joined(links))</ul></nav>
            <div data-live="\(DevicePage.address(device.id))/twin\(query)">\(live(twin ?? .null))</div></section>
            """
    }

    static func live(_ visit: Visit, _ id: String) async throws -> HTML {
        live(try await visit.hub.call(.GET, path(id, visit.parameter("module"))))
    }

    static func path(_ id: String, _ module: String) -> [String] {
        ["twins", id] + (module.isEmpty ? [] : ["modules", module])
    }

    private static func live(_ twin: JSONValue) -> HTML {
        let desired = section(twin, "desired")
        let reported = section(twin, "reported")
        let tags = twin["tags"]?.object ?? [:]
        let tagCard: HTML =
            tags.isEmpty
            ? .empty
            : "<p class=\"tags\">\(.joined(tags.map { "<span class=\"tag\">\($0.key) <b>\($0.value.string ?? $0.value.text())</b></span> " }))</p>"
        return """
            \(tagCard)
            <div class="twins">
            <div><h3>Desired <span class="quiet">version \(twin.at(["properties", "desired", "$version"])?.int ?? 0)</span></h3><pre tabindex="0">\(JSONValue.object(desired).text(.pretty))</pre></div>
            <div><h3>Reported <span class="quiet">version \(twin.at(["properties", "reported", "$version"])?.int ?? 0)</span></h3><pre tabindex="0">\(JSONValue.object(reported).text(.pretty))</pre></div>
            <div><h3>Difference</h3>\(difference(.object(desired), .object(reported)))</div>
            </div>
            """
    }

    /// A section without what the hub adds to it.
    static func section(_ twin: JSONValue, _ name: String) -> JSONObject {
        var object = twin.at(["properties", name])?.object ?? [:]
        object["$metadata"] = nil
        object["$version"] = nil
        return object
    }

    private static func difference(_ desired: JSONValue, _ reported: JSONValue) -> HTML {
        let differences = Difference.between(desired, reported).filter { $0.before != nil }
        guard !differences.isEmpty else {
            return "<p class=\"success\">Everything that is desired is reported so.</p>"
        }
        return Difference.table(differences, before: "desired", after: "reported", limit: 100)
    }

    // MARK: Editing

    static func editor(_ visit: Visit, _ id: String) async throws -> Page {
        let module = visit.parameter("module")
        let twin = try await visit.hub.call(.GET, path(id, module))
        return page(
            visit, id, module, desired: JSONValue.object(section(twin, "desired")).text(.pretty),
            tags: (twin["tags"] ?? [:]).text(.pretty), tag: twin["etag"]?.string ?? "", note: .empty)
    }

    private static func page(
        _ visit: Visit, _ id: String, _ module: String, desired: String, tags: String, tag: String, note: HTML
    ) -> Page {
        Page(
            title: "Edit the twin", trail: [("Fleet", "/"), (id, DevicePage.address(id))], place: .fleet,
            content: """
                <form class="stack wide" method="post" action="\(DevicePage.address(id))/twin">\(visit.formToken)
                <p>Of \(module.isEmpty ? "the device" : "the module") <strong>\(module.isEmpty ? id : module)</strong>. What you write becomes the whole; \
                the device is sent only what differs.</p>
                \(note)
                <input type="hidden" name="module" value="\(module)"><input type="hidden" name="etag" value="\(tag)">
                <label>Desired properties <textarea name="desired" rows="16" spellcheck="false" data-json>\(desired)</textarea></label>
                <label>Tags <textarea name="tags" rows="6" spellcheck="false" data-json>\(tags)</textarea></label>
                <p class="row"><button class="primary">Write</button> <a href="\(DevicePage.address(id))">Leave it</a></p>
                </form>
                """)
    }

    /// Writes what the editor holds, unless somebody else has written since it was opened.
    static func write(_ visit: Visit, _ id: String) async throws -> HTTPResponse {
        let form = visit.form
        let module = form["module"]
        func again(_ note: HTML) -> HTTPResponse {
            visit.page(
                page(
                    visit, id, module, desired: form["desired"], tags: form["tags"], tag: form["etag"], note: note))
        }
        let sections: [(name: String, title: String)] = [("desired", "The desired properties"), ("tags", "The tags")]
        var written: [String: JSONValue] = [:]
        for (name, title) in sections {
            do throws(JSONSyntaxError) {
                let value = try JSONValue(parsing: form[name].isEmpty ? "{}" : form[name])
                guard value.object != nil else { return again(Notice.refusal("\(title) are no JSON object.")) }
                written[name] = value
            } catch {
                let refusal = HubRefusal(status: 400, message: "\(title) are no JSON: \(error)")
                return again(Notice.refusal(refusal, in: form[name]))
            }
        }
        let twin = try await visit.hub.call(.GET, path(id, module))
        var patch: JSONObject = [:]
        if let change = JSONValue.object(section(twin, "desired")).mergePatch(to: written["desired"] ?? [:]) {
            patch["properties"] = ["desired": change]
        }
        if let change = (twin["tags"] ?? [:]).mergePatch(to: written["tags"] ?? [:]) { patch["tags"] = change }
        guard !patch.isEmpty else { return again(Notice.good("Nothing was changed.")) }
        do {
            _ = try await visit.hub.call(
                .PATCH, path(id, module), headers: ["if-match": "\"\(form["etag"])\""], body: .object(patch))
        } catch let refusal as HubRefusal where refusal.status == 412 {
            return again(
                Notice.refusal(
                    "Somebody else has changed the twin meanwhile. Open the editor anew, and make your change on what is there now."
                ))
        } catch let refusal as HubRefusal where refusal.status == 400 || refusal.status == 413 {
            return again(Notice.refusal(refusal.message))
        }
        let query = module.isEmpty ? "" : "?module=\(module.urlEncoded)"
        return .redirect("\(DevicePage.address(id))\(query)#twin")
    }
}

/// Where two documents differ, leaf by leaf.
struct Difference: Sendable {
    let path: String
    let before: JSONValue?
    let after: JSONValue?

    static func between(_ before: JSONValue, _ after: JSONValue) -> [Difference] {
        var found: [Difference] = []
        collect(before, after, "", &found)
        return found
    }

    private static func collect(
        _ before: JSONValue?, _ after: JSONValue?, _ path: String, _ found: inout [Difference]
    ) {
        guard before != after else { return }
        let (one, other) = (before?.object, after?.object)
        guard (one != nil && other != nil) || (one != nil && after == nil) || (before == nil && other != nil) else {
            found.append(Difference(path: path, before: before, after: after))
            return
        }
        var names = one?.keys ?? []
        names += (other?.keys ?? []).filter { one?[$0] == nil }
        guard !names.isEmpty else {
            found.append(Difference(path: path, before: before, after: after))
            return
        }
        for name in names {
            collect(one?[name], other?[name], path.isEmpty ? name : "\(path).\(name)", &found)
        }
    }

    static func table(_ differences: [Difference], before: String, after: String, limit: Int) -> HTML {
        let rows = differences.prefix(limit).map { difference -> HTML in
            """
            <tr><th scope="row"><code>\(difference.path)</code></th><td class="before">\(text(difference.before))</td>\
            <td class="after">\(text(difference.after))</td></tr>
            """
        }
        let more: HTML =
            differences.count > limit ? "<p class=\"hint\">and \(differences.count - limit) more</p>" : .empty
        return """
            <div class="scroll" tabindex="0" role="region" aria-label="Differences"><table class="differences"><thead><tr><th scope="col">Where</th><th scope="col">\(before)</th><th scope="col">\(after)</th></tr></thead>
            <tbody>\(.joined(rows))</tbody></table></div>\(more)
            """
    }

    private static func text(_ value: JSONValue?) -> HTML {
        guard let value else { return "<span class=\"quiet\">missing</span>" }
        return "<code>\(value.text().prefix(200))</code>"
    }
}
