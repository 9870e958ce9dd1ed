/// The published schema "deployment manifest 2.0" as rules: closed nearly everywhere.
extension ManifestRule {
    static let manifest = ManifestRule.object(
        Members(required: ["modulesContent"], named: [("modulesContent", modulesContent)]))

    /// The same for a template, whose create options are objects and whose texts may hold variables.
    static let template = ManifestRule.object(
        Members(
            required: ["modulesContent"],
            named: [("$schema-template", .text()), ("modulesContent", modulesContent.forTemplates)], isOpen: true))

    /// For templates: a choice may be a variable, and create options may be written as an object.
    private var forTemplates: ManifestRule {
        switch self {
        case .choice(let allowed): return .either(.choice(allowed), .text(.variable))
        case .object(var members):
            members.named = members.named.map { ($0.0, $0.1.forTemplates) }
            if let others = members.others {
                let isOptions = others.name.pattern == Self.createOptionsKey.pattern
                members.others = (
                    others.name, isOptions ? .either(.text(), .anyObject) : others.rule.forTemplates
                )
            }
            return .object(members)
        case .either(let first, let second): return .either(first.forTemplates, second.forTemplates)
        default: return self
        }
    }

    private static let largest = 4_294_967_295

    private static let modulesContent = ManifestRule.object(
        Members(
            required: ["$edgeAgent", "$edgeHub"],
            named: [("$edgeAgent", desired(edgeAgent)), ("$edgeHub", desired(edgeHub))],
            others: (plainName, desired(.anyObject))))

    private static func desired(_ rule: ManifestRule) -> ManifestRule {
        .object(Members(required: ["properties.desired"], named: [("properties.desired", rule)]))
    }

    private static let edgeAgent = ManifestRule.object(
        Members(
            required: ["schemaVersion", "runtime", "systemModules", "modules"],
            named: [
                ("schemaVersion", .text()), ("runtime", runtime), ("systemModules", systemModules),
                ("modules", .object(Members(others: (plainName, userModule)))),
            ]))

    private static let runtime = ManifestRule.object(
        Members(
            required: ["type", "settings"],
            named: [
                ("type", moduleType),
                (
                    "settings",
                    .object(
                        Members(named: [
                            ("minDockerVersion", .text()), ("loggingOptions", .text()),
                            (
                                "registryCredentials",
                                .object(Members(others: (freeName, registryCredential)))
                            ),
                        ]))
                ),
            ]))

    private static let registryCredential = ManifestRule.object(
        Members(
            required: ["username", "password", "address"],
            named: [("username", .text()), ("password", .text()), ("address", .text(.noBlanks))]))

    private static let systemModules = ManifestRule.object(
        Members(
            required: ["edgeAgent", "edgeHub"],
            named: [
                (
                    "edgeAgent",
                    .object(
                        Members(
                            required: ["type", "settings"],
                            named: [
                                ("type", moduleType), ("settings", settings), ("env", environment),
                                ("imagePullPolicy", pullPolicy),
                            ]))
                ),
                (
                    "edgeHub",
                    .object(Members(required: ["type", "settings", "status", "restartPolicy"], named: runningModule))
                ),
            ]))

    private static let userModule = ManifestRule.object(
        Members(
            required: ["type", "status", "restartPolicy", "settings"],
            named: [("version", .text())] + runningModule))

    private static let runningModule: [(String, ManifestRule)] = [
        ("type", moduleType), ("settings", settings), ("env", environment),
        ("status", .choice(["running", "stopped"])),
        ("restartPolicy", .choice(["never", "on-failure", "on-unhealthy", "always"])),
        ("imagePullPolicy", pullPolicy), ("startupOrder", .integer(0...largest)),
    ]

    private static let moduleType = ManifestRule.choice(["docker"])
    private static let pullPolicy = ManifestRule.choice(["never", "on-create"])

    private static let settings = ManifestRule.object(
        Members(required: ["image"], named: [("image", .text())], others: (createOptionsKey, .text())))

    private static let environment = ManifestRule.object(
        Members(
            others: (
                variableName,
                .object(Members(required: ["value"], named: [("value", .scalar)]))
            )))

    private static let edgeHub = ManifestRule.object(
        Members(
            required: ["schemaVersion", "routes"],
            named: [
                ("schemaVersion", .text()),
                (
                    "routes",
                    .object(Members(others: (freeName, .either(routeObject, .text(.notEmpty)))))
                ),
                (
                    "storeAndForwardConfiguration",
                    .object(Members(required: ["timeToLiveSecs"], named: [("timeToLiveSecs", .integer())]))
                ),
            ]))

    private static let routeObject = ManifestRule.object(
        Members(
            required: ["route"],
            named: [
                ("route", .text(.notEmpty)), ("priority", .integer(0...9)), ("timeToLiveSecs", .integer(0...largest)),
            ]))

    private static let plainName = NameRule(pattern: "^[a-zA-Z0-9_-]+$") { name in
        !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
                default: false
                }
            }
    }

    private static let freeName = NameRule(pattern: #"^[^\.\$# ]+$"#) { isFree($0, of: ".$# ") }

    private static let variableName = NameRule(pattern: #"^[^\+#$\s\.]+$"#) { name in
        isFree(name, of: "+#$.") && !name.unicodeScalars.contains { $0.properties.isWhitespace }
    }

    private static func isFree(_ name: String, of forbidden: String) -> Bool {
        !name.isEmpty && !name.contains(where: forbidden.contains)
    }

    private static let createOptionsKey = NameRule(pattern: "^(createoptions|createOptions)[0-9]*$") { name in
        for prefix in ["createOptions", "createoptions"] where name.hasPrefix(prefix) {
            return name.dropFirst(prefix.count).utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
        }
        return false
    }
}
