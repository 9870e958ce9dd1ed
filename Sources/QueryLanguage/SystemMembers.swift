/// The members that the hub itself puts into a twin or job: queries may write them in any letter case.
enum SystemMembers {
    private static let roots = byLowerCase([
        "deviceId", "moduleId", "etag", "deviceEtag", "version", "status", "statusReason", "statusUpdateTime",
        "connectionState", "lastActivityTime", "cloudToDeviceMessageCount", "authenticationType", "x509Thumbprint",
        "modelId", "capabilities", "deviceScope", "parentScopes", "configurations", "tags", "properties", "jobId",
        "jobType", "startTimeUtc", "endTimeUtc", "createdDateTimeUtc", "lastUpdatedDateTimeUtc", "outcome", "error",
    ])

    private static let children: [String: [String: String]] = [
        "properties": byLowerCase(["desired", "reported"]),
        "capabilities": byLowerCase(["iotEdge"]),
        "x509Thumbprint": byLowerCase(["primaryThumbprint", "secondaryThumbprint"]),
        "outcome": byLowerCase(["deviceMethodResponse", "twinUpdate"]),
    ]

    /// The members of a row of `devices.jobs` (hub.md, section 4.6).
    static let ofJobs: Set<String> = [
        "deviceId", "moduleId", "jobId", "jobType", "status", "startTimeUtc", "endTimeUtc", "createdDateTimeUtc",
        "lastUpdatedDateTimeUtc", "outcome", "error",
    ]

    private static func byLowerCase(_ names: [String]) -> [String: String] {
        Dictionary(uniqueKeysWithValues: names.map { ($0.lowercased(), $0) })
    }

    /// The path with the hub's spelling of system members, without a collection in front, and with `id` as `deviceId`.
    static func canonical(_ steps: [QueryPath.Step]) -> QueryPath {
        var steps = withoutCollection(steps)
        guard case .member(let root)? = steps.first else { return QueryPath(steps) }
        if let known = roots[root.lowercased()] {
            steps[0] = .member(known)
        } else if root.lowercased() == "id" {
            steps[0] = .member("deviceId")
        }
        guard case .member(let canonicalRoot) = steps[0] else { return QueryPath(steps) }
        if steps.count > 1, case .member(let child) = steps[1],
            let known = children[canonicalRoot]?[child.lowercased()]
        {
            steps[1] = .member(known)
        }
        if canonicalRoot == "configurations", steps.count > 2, case .member(let child) = steps[2],
            child.lowercased() == "status"
        {
            steps[2] = .member("status")
        }
        return QueryPath(steps)
    }

    private static func withoutCollection(_ steps: [QueryPath.Step]) -> [QueryPath.Step] {
        guard steps.count > 1, case .member(let first) = steps[0], first.lowercased() == "devices" else { return steps }
        if steps.count > 2, case .member(let second) = steps[1], ["modules", "jobs"].contains(second.lowercased()) {
            return Array(steps[2...])
        }
        return Array(steps[1...])
    }
}
