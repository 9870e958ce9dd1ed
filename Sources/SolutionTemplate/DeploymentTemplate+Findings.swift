import JSONDocument
import Model
import QueryLanguage

/// Everything about a deployment that can be known before anything runs.
extension DeploymentTemplate {
    /// What is wrong with the manifest that the template has become.
    ///
    /// - Parameter file: the template, as the user knows it.
    package func findings(file: String) -> [SolutionFinding] {
        var findings = Findings(template: self, file: file)
        findings.checkSchema()
        findings.checkModules()
        findings.checkRoutes()
        findings.checkLimits()
        return findings.all
    }

    /// Each violation with its place in the template.
    package func place(of violation: ManifestViolation) -> SourcePlace { source.place(of: violation.path) }
}

private struct Findings {
    let template: DeploymentTemplate
    let file: String
    let content: ModulesContent
    var all: [SolutionFinding] = []

    /// The documented limits of a hub.
    private static let modules = 50

    init(template: DeploymentTemplate, file: String) {
        self.template = template
        self.file = file
        content = template.content
    }

    private mutating func add(
        _ severity: SolutionFinding.Severity, _ rule: SolutionFinding.Rule, _ path: [String], _ reason: String
    ) {
        all.append(SolutionFinding(severity, rule, reason, file: file, place: template.source.place(of: path)))
    }

    mutating func checkSchema() {
        for violation in template.violations() {
            let name = violation.path.last.map { "\"\($0)\": " } ?? ""
            add(.error, .schema, violation.path, name + violation.reason)
        }
    }

    // MARK: Modules

    private struct HostPort: Hashable {
        let number: Int
        let kind: Substring
    }

    private typealias PortUse = (address: String, module: String, path: [String])

    mutating func checkModules() {
        var ports: [HostPort: [PortUse]] = [:]
        for section in [DeploymentTemplate.Section.modules, .systemModules] {
            for name in content.moduleNames(in: section) {
                let at = { [template] (rest: [String]) in template.path(section: section, name, rest) }
                if let image = content.value(section: section, name, ["settings", "image"])?.string {
                    checkImage(image, of: name, at(["settings", "image"]))
                }
                if section == .systemModules, content.moduleNames(in: .modules).contains(name) {
                    add(.error, .structure, at([]), "\"\(name)\" is among the modules and among the system modules")
                }
                let written = content.value(section: section, name, ["settings", "createOptions"])
                let whole = template.joinedCreateOptions {
                    content.value(section: section, name, ["settings", $0])
                }
                guard written != nil, let whole, let options = try? JSONValue(parsing: whole), options.object != nil
                else { continue }
                let path = at(["settings", "createOptions"])
                checkOptions(options, of: name, path)
                collectPorts(options, of: name, path, into: &ports)
            }
        }
        for (port, uses) in ports.sorted(by: { ($0.key.number, $0.key.kind) < ($1.key.number, $1.key.kind) }) {
            for (index, use) in uses.enumerated() {
                guard
                    let first = uses[..<index].first(where: {
                        $0.address == use.address || $0.address == "0.0.0.0" || use.address == "0.0.0.0"
                    })
                else { continue }
                let owner = first.module == use.module ? "twice" : "by \"\(first.module)\" too"
                add(
                    .error, .port, use.path,
                    "the host's port \(port.number)/\(port.kind) of \"\(use.module)\" is bound \(owner); give one of them another HostPort"
                )
            }
        }
    }

    private mutating func checkImage(_ image: String, of module: String, _ path: [String]) {
        if image.contains("${") {
            // Told as unresolved already.
            guard !ImageCatalog.isPlaceholder(image) else { return }
            return add(.error, .image, path, "the image \(image) of \"\(module)\" still holds a variable")
        }
        guard let fault = ImageNameFault.of(image) else { return }
        add(.error, .image, path, "the image \"\(image)\" of \"\(module)\" is no image name: \(fault)")
    }

    private mutating func checkOptions(_ options: JSONValue, of module: String, _ path: [String]) {
        var faults: [ManifestViolation] = []
        ManifestRule.createOptions.check(options, at: [], into: &faults)
        for fault in faults {
            let name = fault.path.isEmpty ? "" : "\(fault.path.joined(separator: ".")): "
            let consequence = fault.isUnknownMember ? "; the engine passes over it" : ""
            add(
                fault.isUnknownMember ? .warning : .error, .createOptions, path + fault.path,
                "createOptions of \"\(module)\": \(name)\(fault.reason)\(consequence)")
        }
    }

    private func collectPorts(
        _ options: JSONValue, of module: String, _ path: [String], into ports: inout [HostPort: [PortUse]]
    ) {
        for (container, bindings) in member("PortBindings", of: member("HostConfig", of: options))?.object ?? [:] {
            let kind = container.split(separator: "/").dropFirst().first ?? "tcp"
            for (index, binding) in (bindings.array ?? []).enumerated() {
                let address = member("HostIp", of: binding)?.string ?? ""
                let text = member("HostPort", of: binding)?.string ?? ""
                let ends = text.split(separator: "-").compactMap { Int($0) }
                guard let first = ends.first, let last = ends.last, 0 < first, first <= last, last < 65536 else {
                    continue
                }
                for number in first...last {
                    ports[HostPort(number: number, kind: kind), default: []].append(
                        (
                            address.isEmpty ? "0.0.0.0" : address, module,
                            path + ["HostConfig", "PortBindings", container, String(index)]
                        ))
                }
            }
        }
    }

    /// A member in any letter case, as the engine reads it.
    private func member(_ name: String, of value: JSONValue?) -> JSONValue? {
        value?.object?.first { $0.key.lowercased() == name.lowercased() }?.value
    }

    // MARK: Routes

    mutating func checkRoutes() {
        let prefix = "properties.desired"
        let hub = content.json["$edgeHub"]?.object ?? [:]
        for (key, value) in hub {
            let path = template.contentPath + ["$edgeHub", key]
            if key == prefix {
                for (name, route) in value["routes"]?.object ?? [:] {
                    // What a path brought in is looked at where it stands.
                    guard hub["\(prefix).routes.\(name)"] == nil, hub["\(prefix).routes"]?[name] == nil else {
                        continue
                    }
                    check(route, named: name, path + ["routes", name])
                }
            } else if key == "\(prefix).routes" {
                for (name, route) in value.object ?? [:] { check(route, named: name, path + [name]) }
            } else if key.hasPrefix("\(prefix).routes.") {
                check(value, named: String(key.dropFirst("\(prefix).routes.".count)), path)
            }
        }
    }

    private mutating func check(_ value: JSONValue, named name: String, _ path: [String]) {
        let isObject = value.object != nil
        guard let text = (isObject ? value["route"] : value)?.string, !text.isEmpty else { return }
        let path = isObject ? path + ["route"] : path
        do {
            let route = try EdgeRoute(parsing: text)
            for module in modulesNamed(by: route) where !knows(module) {
                let near = Spelling.nearest(to: module, in: names).map { "; is \"\($0)\" meant?" } ?? ""
                add(
                    .warning, .route, path,
                    "the route \"\(name)\" names the module \"\(module)\", which is not deployed\(near)")
            }
        } catch {
            let place = template.source.place(of: path, line: error.line, column: error.column)
            all.append(
                SolutionFinding(
                    .error, .route,
                    "the route \"\(name)\" is no route: \(error.reason) (column \(error.column) of the route)",
                    file: file,
                    place: place))
        }
    }

    private var names: [String] { content.moduleNames(in: .modules) }

    /// A layer may name what other layers bring.
    private func knows(_ module: String) -> Bool {
        template.isLayered || names.contains(module) || module == "*" || module.hasPrefix("$") || module.contains("$")
    }

    private func modulesNamed(by route: EdgeRoute) -> [String] {
        var found: [String] = []
        let steps = route.source.text.split(separator: "/")
        if steps.count > 2, steps[0].lowercased() == "messages", steps[1].lowercased() == "modules" {
            found.append(String(steps[2]))
        }
        if case .module(let name, _, _) = route.sink { found.append(name) }
        return found
    }

    // MARK: Limits

    mutating func checkLimits() {
        if names.count > Self.modules {
            add(
                .error, .limit, template.path(section: .modules, "", []),
                "\(names.count) modules; a device has at most \(Self.modules)")
        }
        for name in names where name.utf8.count > 128 {
            add(.error, .limit, template.path(section: .modules, name, []), "the name is longer than 128 characters")
        }
        for (module, section) in content.json.object ?? [:] {
            guard let desired = section["properties.desired"]?.object else { continue }
            let path = template.contentPath + [module, "properties.desired"]
            do {
                try TwinRestrictions.check(desired, in: .desired, allowsNull: true)
            } catch {
                add(.error, .limit, path, "\"\(module)\": a twin cannot hold this: \(error.message)")
            }
            let (size, limit) = (TwinRestrictions.size(of: desired), TwinSectionKind.desired.sizeLimit)
            if size > limit {
                add(
                    .error, .limit, path,
                    "the desired properties of \"\(module)\" have \(size) bytes; a twin holds at most \(limit)")
            }
        }
    }
}

/// Why a text is no name of an image.
enum ImageNameFault {
    /// - Returns: nil when an engine takes the name.
    static func of(_ image: String) -> String? {
        guard !image.isEmpty else { return "it is empty" }
        guard image.utf8.count <= 512 else { return "it is longer than 512 characters" }
        if image.contains(where: \.isWhitespace) { return "it holds a blank" }
        var rest = image[...]
        if let at = rest.firstIndex(of: "@") {
            let digest = rest[rest.index(after: at)...]
            guard digest.hasPrefix("sha256:"), digest.utf8.count == 71 else { return "its digest is no sha256:…" }
            rest = rest[..<at]
        }
        if let colon = rest.lastIndex(of: ":"), rest.lastIndex(of: "/").map({ $0 < colon }) ?? true {
            let tag = rest[rest.index(after: colon)...]
            guard let first = tag.first, first.isLetter || first.isNumber || first == "_", tag.utf8.count <= 128,
                tag.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) })
            else {
                return "the tag \"\(tag)\" needs letters, digits, '.', '_' or '-', and a letter, digit or '_' first"
            }
            rest = rest[..<colon]
        }
        guard !rest.isEmpty else { return "it has no repository" }
        var steps = rest.split(separator: "/", omittingEmptySubsequences: false)[...]
        if steps.count > 1, let host = steps.first, host.contains(".") || host.contains(":") || host == "localhost" {
            steps = steps.dropFirst()
        }
        for step in steps {
            guard step.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }), !step.isEmpty,
                step == step.lowercased(), step.first.map({ $0.isLetter || $0.isNumber }) == true
            else { return "the part \"\(step)\" needs small letters, digits, '.', '_' or '-'" }
        }
        return nil
    }
}
