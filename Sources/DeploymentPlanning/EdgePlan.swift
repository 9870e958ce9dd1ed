package import JSONDocument
package import Model

/// What the configurations that match an edge device make of it (hub.md, section 5.3, "Edge deployments").
package struct EdgePlan: Sendable, Hashable {
    /// The desired sections to write, by module; only those that differ from the present ones.
    package var desired: [String: JSONObject] = [:]
    /// Which configurations each module twin carries: `true` for `Applied`, `false` for `Targeted`.
    package var statuses: [String: [String: Bool]] = [:]
    /// Identities that the deployment names and the device lacks.
    package var identitiesToCreate: [String] = []
    /// Identities that an earlier deployment brought and this one does not name.
    package var identitiesToRemove: [String] = []

    /// Decides for one edge device.
    ///
    /// The highest ranked deployment that is no layer is the base; layers whose priority is higher than the base's go on
    /// top, from the lowest to the highest. Without a base nothing is written: modules and settings stay as they are.
    /// - Parameters:
    ///   - matching: the edge deployments whose condition the device meets, in any order.
    ///   - present: the modules of the device, with `managedBy` and the desired properties without `$` members.
    package init(matching: [RankedConfiguration], present: [String: PresentModule]) {
        let ranked = matching.sorted()
        guard let base = ranked.last(where: { !$0.content.isLayered }) else {
            if !ranked.isEmpty {
                statuses["$edgeAgent"] = Dictionary(ranked.map { ($0.id, false) }) { first, _ in first }
            }
            return
        }
        let layers = ranked.filter { $0.content.isLayered && $0.priority > base.priority }
        let sections = Self.sections([base] + layers)
        statuses = Self.statuses(ranked, base: base, sections: sections)
        plan(sections.mapValues(\.properties), present: present)
    }

    /// Plans the content that is given to one device directly: whole sections replace, paths are set.
    package init(applying content: [String: [ContentPath]], present: [String: PresentModule]) {
        var sections: [String: LayeredSection] = [:]
        for (module, paths) in content {
            var section = LayeredSection(present[module]?.desired ?? [:])
            for path in paths.inOrder { section.write(path, by: "") }
            sections[module] = section
        }
        plan(sections.mapValues(\.properties), present: present)
    }

    /// A module as the device has it.
    package struct PresentModule: Sendable, Hashable {
        package let managedBy: String
        package let desired: JSONObject

        package init(managedBy: String, desired: JSONObject) {
            self.managedBy = managedBy
            self.desired = desired
        }
    }

    private static func sections(_ configurations: [RankedConfiguration]) -> [String: LayeredSection] {
        var sections: [String: LayeredSection] = [:]
        for configuration in configurations {
            guard case .edge(let modules) = configuration.content else { continue }
            for (module, paths) in modules {
                for path in paths.inOrder {
                    sections[module, default: LayeredSection()].write(path, by: configuration.id)
                }
            }
        }
        return sections
    }

    private static func statuses(
        _ ranked: [RankedConfiguration], base: RankedConfiguration, sections: [String: LayeredSection]
    ) -> [String: [String: Bool]] {
        var statuses: [String: [String: Bool]] = [:]
        for configuration in ranked {
            let inForce = { (module: String) in sections[module]?.writersInForce.contains(configuration.id) ?? false }
            statuses["$edgeAgent", default: [:]][configuration.id] =
                configuration.id == base.id || inForce("$edgeAgent")
            guard case .edge(let modules) = configuration.content else { continue }
            for module in modules.keys where module != "$edgeAgent" {
                statuses[module, default: [:]][configuration.id] = inForce(module)
            }
        }
        return statuses
    }

    private mutating func plan(_ merged: [String: JSONObject], present: [String: PresentModule]) {
        var names: Set<String> = []
        if let agent = merged["$edgeAgent"] {
            names = Set(agent["modules"]?.object?.keys ?? [])
            identitiesToCreate = names.filter { present[$0] == nil && IdentityKey.isValid($0) && !$0.hasPrefix("$") }
                .sorted()
            identitiesToRemove = present.filter { name, module in
                !name.hasPrefix("$") && !names.contains(name) && module.managedBy.lowercased() == "iotedge"
            }.keys.sorted()
        }
        for (module, section) in merged {
            let exists = present[module] != nil || identitiesToCreate.contains(module)
            guard exists, !identitiesToRemove.contains(module), (present[module]?.desired ?? [:]) != section else {
                continue
            }
            desired[module] = section
        }
    }
}

extension [ContentPath] {
    /// A whole section before paths into it, shorter paths before longer ones, so that none undoes another.
    var inOrder: [ContentPath] {
        enumerated().sorted { ($0.element.segments.count, $0.offset) < ($1.element.segments.count, $1.offset) }
            .map(\.element)
    }
}
