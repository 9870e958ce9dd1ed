package import JSONDocument

/// The `buildOptions` of a module: entries of the form `--key value` or `--key=value`, as `docker build` takes them.
package struct BuildOptions: Sendable, Hashable {
    /// `host:address`, each.
    package var extraHosts: [String] = []
    /// A nil value takes the argument from the engine's environment.
    package var arguments: [Pair] = []
    package var cacheFrom: [String] = []
    /// `id=…,src=…` or `id=…,env=…`, each; only BuildKit and Buildah know secrets.
    package var secrets: [String] = []
    /// `default` or `id=socket`, each.
    package var ssh: [String] = []
    /// Where BuildKit puts its cache: `type=registry,ref=…`.
    package var cacheTo: [String] = []
    package var labels: [Pair] = []
    package var network: String?
    package var platform: String?
    package var target: String?
    package var noCache = false
    package var pull = false
    package var quiet = false
    package var squash = false
    package var cpuShares: String?
    package var cpuSet: String?
    /// In bytes, as is `memorySwap` (where -1 means without limit) and `sharedMemory`.
    package var memory: Int?
    package var memorySwap: Int?
    package var sharedMemory: Int?
    /// Options that do nothing here, to be told.
    package var ignored: [String] = []

    package struct Pair: Sendable, Hashable {
        package let name: String
        package let value: String?
    }

    package init() {}

    /// - Parameters:
    ///   - file: the `module.json`, for the errors.
    ///   - place: where the list, or the entry of a number in it, stands.
    /// - Throws: `badBuildOption` with the entry.
    package init(
        _ json: JSONValue?, file: String, place: ([String]) -> SourcePlace? = { _ in nil }
    ) throws(SolutionError) {
        switch json {
        // Nothing, in every spelling that a variable may leave.
        case nil, .null?, .string("")?: return
        case .object(let members)? where members.isEmpty: return
        case .array(let entries)?:
            for (index, entry) in entries.enumerated() {
                guard let text = entry.string else {
                    throw SolutionError(
                        .badBuildOption, "an entry of \"buildOptions\" is no text: \(entry.text())", file: file,
                        place: place([String(index)]))
                }
                guard let (key, value) = Self.split(text) else { continue }
                try take(key, value, entry: text, file: file, place: place([String(index)]))
            }
        default:
            throw SolutionError(
                .badBuildOption, "\"buildOptions\" is no list of texts such as \"--build-arg NAME=value\"", file: file,
                place: place([]))
        }
    }

    /// Adds an option of the command line, which wins over those of the `module.json`.
    ///
    /// - Throws: `badBuildOption`.
    package mutating func add(_ key: String, _ value: String?) throws(SolutionError) {
        try take(key, value, entry: value.map { "\(key) \($0)" } ?? key, file: nil, place: nil)
    }

    private mutating func take(
        _ key: String, _ value: String?, entry: String, file: String?, place: SourcePlace?
    ) throws(SolutionError) {
        func fail(_ reason: String) -> SolutionError {
            SolutionError(.badBuildOption, "build option \"\(entry)\": \(reason)", file: file, place: place)
        }
        func text() throws(SolutionError) -> String {
            guard let value, !value.isEmpty else { throw fail("needs a value, as in \"\(key) value\"") }
            return value
        }
        func flag() throws(SolutionError) -> Bool {
            switch value?.lowercased() {
            case nil, "", "true": return true
            case "false": return false
            default: throw fail("takes true or false only")
            }
        }
        func bytes() throws(SolutionError) -> Int {
            guard let bytes = Self.bytes(try text()) else { throw fail("needs a size such as 64m or 1g") }
            return bytes
        }
        switch key {
        case "--tag", "-t", "--file", "-f", "--rm": ignored.append(key)
        case "--add-host":
            guard let value, value.contains(":") else { throw fail("needs host:address") }
            // A later address for the same host takes the place of the earlier one.
            let host = value.prefix { $0 != ":" }
            extraHosts.removeAll { $0.prefix { $0 != ":" } == host }
            extraHosts.append(value)
        case "--build-arg": Self.set(Self.pair(try text(), missing: nil), in: &arguments)
        case "--label": Self.set(Self.pair(try text(), missing: ""), in: &labels)
        case "--cache-from": cacheFrom.append(try text())
        case "--cache-to": cacheTo.append(try text())
        case "--secret":
            let secret = try text()
            guard secret.split(separator: ",").contains(where: { $0.hasPrefix("id=") }) else {
                throw fail("needs id=NAME, and src=FILE or env=VARIABLE")
            }
            secrets.append(secret)
        case "--ssh": ssh.append(value.flatMap { $0.isEmpty ? nil : $0 } ?? "default")
        case "--cpu-shares", "-c": cpuShares = try text()
        case "--cpuset-cpus": cpuSet = try text()
        case "--memory", "-m": memory = try bytes()
        case "--memory-swap": memorySwap = value == "-1" ? -1 : try bytes()
        case "--shm-size": sharedMemory = try bytes()
        // Without a value, as a variable may leave them, these ask for nothing.
        case "--network": network = value.flatMap { $0.isEmpty ? nil : $0 }
        case "--platform": platform = value.flatMap { $0.isEmpty ? nil : $0 }
        case "--target": target = value.flatMap { $0.isEmpty ? nil : $0 }
        case "--no-cache": noCache = try flag()
        case "--pull": pull = try flag()
        case "--quiet", "-q": quiet = try flag()
        case "--squash": squash = try flag()
        // Containers of the steps are always taken away.
        case "--force-rm": _ = try flag()
        default:
            throw SolutionError(
                .badBuildOption,
                "Not supported build option \(key)"
                    + (Spelling.nearest(to: key, in: Self.known).map { "; is \($0) meant?" } ?? ""), file: file,
                place: place)
        }
    }

    private static let known = [
        "--add-host", "--build-arg", "--cache-from", "--cache-to", "--cpu-shares", "--cpuset-cpus", "--force-rm",
        "--label", "--memory", "--memory-swap", "--network", "--no-cache", "--platform", "--pull", "--quiet",
        "--secret", "--shm-size", "--squash", "--ssh", "--target",
    ]

    /// What only BuildKit or Buildah can do, by name.
    package var modernOnly: [String] {
        var names: [String] = []
        if !secrets.isEmpty { names.append("--secret") }
        if !ssh.isEmpty { names.append("--ssh") }
        if !cacheTo.isEmpty { names.append("--cache-to") }
        return names
    }

    /// Whether an option limits the containers of the steps, or asks for something else that BuildKit leaves undone.
    package var isClassicOnly: Bool {
        squash || cpuShares != nil || cpuSet != nil || memory != nil || memorySwap != nil || sharedMemory != nil
            || !["host", "none", "default", nil].contains(network)
    }

    /// Key and value: split at the first run of blanks, of which only the second word counts, or else at `=`.
    private static func split(_ entry: String) -> (key: String, value: String?)? {
        let words = entry.split(whereSeparator: \.isWhitespace)
        guard let first = words.first else { return nil }
        if words.count > 1 { return (String(first), String(words[1])) }
        guard let mark = first.firstIndex(of: "=") else { return (String(first), nil) }
        return (String(first[..<mark]), String(first[first.index(after: mark)...]))
    }

    private static func pair(_ text: String, missing: String?) -> Pair {
        guard let mark = text.firstIndex(of: "=") else { return Pair(name: text, value: missing) }
        return Pair(name: String(text[..<mark]), value: String(text[text.index(after: mark)...]))
    }

    private static func set(_ pair: Pair, in pairs: inout [Pair]) {
        if let place = pairs.firstIndex(where: { $0.name == pair.name }) {
            pairs[place] = pair
        } else {
            pairs.append(pair)
        }
    }

    /// A size with an optional unit: b, k, m, g, t (powers of 1024), each with a further `b` or not.
    static func bytes(_ text: String) -> Int? {
        var text = text.lowercased()[...]
        var unit = 1
        if text.count > 1, text.last == "b" { text.removeLast() }
        if let last = text.last, let power = ["k": 1, "m": 2, "g": 3, "t": 4][last] {
            unit = 1 << (10 * power)
            text.removeLast()
        }
        guard let count = Int(text), count >= 0 else { return nil }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: unit)
        return overflow ? nil : bytes
    }
}
