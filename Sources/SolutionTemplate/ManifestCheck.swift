import JSONDocument

extension DeploymentTemplate {
    /// What is wrong with the manifest: against the schema (not for a layer), and in the create options of each module.
    package func violations() -> [ManifestViolation] {
        var found: [ManifestViolation] = []
        if !isLayered { ManifestRule.manifest.check(manifestJSON, at: [], into: &found) }
        let content = self.content
        for section in [Section.modules, .systemModules] {
            for name in content.moduleNames(in: section) {
                found += createOptionsViolations(section, name) {
                    content.value(section: section, name, ["settings", $0])
                }
            }
        }
        return found
    }

    private func createOptionsViolations(
        _ section: Section, _ module: String, _ setting: (String) -> JSONValue?
    ) -> [ManifestViolation] {
        var found: [ManifestViolation] = []
        func fail(_ key: String, _ reason: String) {
            found.append(ManifestViolation(path: path(section: section, module, ["settings", key]), reason: reason))
        }
        guard let whole = joinedCreateOptions(setting, tooLong: { fail($0, "is longer than 512 characters") }) else {
            return []
        }
        guard whole.drop(while: \.isWhitespace).first == "{" else {
            fail("createOptions", "should be an object")
            return found
        }
        do {
            _ = try JSONValue(parsing: whole)
        } catch {
            fail("createOptions", "is no valid JSON: \(error)")
        }
        return found
    }

    /// The pieces of the create options as one text; nil when there are none.
    func joinedCreateOptions(
        _ setting: (String) -> JSONValue?, tooLong: (String) -> Void = { _ in }
    ) -> String? {
        var whole = ""
        for (index, key) in CreateOptions.keys.enumerated() {
            guard let piece = setting(key) else {
                if index == 0 { return nil }
                break
            }
            let text = piece.string ?? piece.text()
            if text.unicodeScalars.count > CreateOptions.pieceLength { tooLong(key) }
            whole += text
        }
        return whole
    }
}
