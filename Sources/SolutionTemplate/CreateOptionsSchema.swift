/// How the container engine is told to create a container: the body of `/containers/create` of the Docker Engine API,
/// version 1.41. The engine takes names in any letter case and passes over what it does not know, so that a misspelt
/// option silently does nothing.
extension ManifestRule {
    static let createOptions = engineObject(container + [("HostConfig", hostConfig), ("NetworkingConfig", networking)])

    private static func engineObject(_ named: [(String, ManifestRule)]) -> ManifestRule {
        .optional(.object(Members(named: named, ignoresCase: true)))
    }

    private static let texts = ManifestRule.optional(.list(.text()))
    private static let word = ManifestRule.optional(.text())
    private static let count = ManifestRule.optional(.integer())
    private static let flag = ManifestRule.optional(.bool)
    private static let command = ManifestRule.optional(.either(.list(.text()), .text()))
    private static let anyName = NameRule(pattern: ".") { !$0.isEmpty }

    private static func map(_ rule: ManifestRule, names: NameRule = anyName) -> ManifestRule {
        .optional(.object(Members(others: (names, rule))))
    }

    /// `8080/tcp`; the protocol may be left out.
    private static let portName = NameRule(pattern: "^[0-9]+(-[0-9]+)?(/(tcp|udp|sctp))?$") { name in
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.count == 1 || ["tcp", "udp", "sctp"].contains(parts[1].lowercased()) else {
            return false
        }
        let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false)
        return (1...2).contains(ends.count) && ends.allSatisfy { UInt16($0).map { $0 > 0 } ?? false }
    }

    private static let container: [(String, ManifestRule)] = [
        ("Hostname", word), ("Domainname", word), ("User", word), ("AttachStdin", flag), ("AttachStdout", flag),
        ("AttachStderr", flag), ("ExposedPorts", map(.optional(.anyObject), names: portName)), ("Tty", flag),
        ("OpenStdin", flag), ("StdinOnce", flag), ("Env", texts), ("Cmd", command),
        (
            "Healthcheck",
            engineObject([
                ("Test", texts), ("Interval", count), ("Timeout", count), ("Retries", count),
                ("StartPeriod", count), ("StartInterval", count),
            ])
        ),
        ("ArgsEscaped", flag), ("Image", word), ("Volumes", map(.optional(.anyObject))), ("WorkingDir", word),
        ("Entrypoint", command), ("NetworkDisabled", flag), ("MacAddress", word), ("OnBuild", texts),
        ("Labels", map(.text())), ("StopSignal", word), ("StopTimeout", count), ("Shell", texts), ("Name", word),
        ("Platform", word),
    ]

    private static let hostConfig = engineObject(resources + hosting)

    private static let weight = ManifestRule.optional(
        .list(engineObject([("Path", word), ("Weight", count)])))
    private static let rate = ManifestRule.optional(.list(engineObject([("Path", word), ("Rate", count)])))

    private static let resources: [(String, ManifestRule)] = [
        ("CpuShares", count), ("Memory", count), ("CgroupParent", word), ("BlkioWeight", count),
        ("BlkioWeightDevice", weight), ("BlkioDeviceReadBps", rate), ("BlkioDeviceWriteBps", rate),
        ("BlkioDeviceReadIOps", rate), ("BlkioDeviceWriteIOps", rate), ("CpuPeriod", count), ("CpuQuota", count),
        ("CpuRealtimePeriod", count), ("CpuRealtimeRuntime", count), ("CpusetCpus", word), ("CpusetMems", word),
        (
            "Devices",
            .optional(
                .list(
                    engineObject([
                        ("PathOnHost", word), ("PathInContainer", word), ("CgroupPermissions", word),
                    ])))
        ),
        ("DeviceCgroupRules", texts),
        (
            "DeviceRequests",
            .optional(
                .list(
                    engineObject([
                        ("Driver", word), ("Count", count), ("DeviceIDs", texts),
                        ("Capabilities", .optional(.list(.list(.text())))), ("Options", map(.text())),
                    ])))
        ),
        ("KernelMemory", count), ("KernelMemoryTCP", count), ("MemoryReservation", count),
        ("MemorySwap", count), ("MemorySwappiness", count), ("NanoCpus", count), ("OomKillDisable", flag),
        ("Init", flag), ("PidsLimit", count),
        (
            "Ulimits",
            .optional(.list(engineObject([("Name", word), ("Soft", count), ("Hard", count)])))
        ),
        ("CpuCount", count), ("CpuPercent", count), ("IOMaximumIOps", count), ("IOMaximumBandwidth", count),
    ]

    private static let hosting: [(String, ManifestRule)] = [
        ("Binds", texts), ("ContainerIDFile", word),
        ("LogConfig", engineObject([("Type", word), ("Config", map(.text()))])), ("NetworkMode", word),
        (
            "PortBindings",
            map(
                .optional(.list(engineObject([("HostIp", word), ("HostPort", word)]))), names: portName)
        ),
        ("RestartPolicy", engineObject([("Name", word), ("MaximumRetryCount", count)])), ("AutoRemove", flag),
        ("VolumeDriver", word), ("VolumesFrom", texts),
        (
            "Mounts",
            .optional(
                .list(
                    engineObject([
                        ("Target", word), ("Source", word),
                        ("Type", .choice(["bind", "volume", "tmpfs", "npipe", "cluster", "image"])),
                        ("ReadOnly", flag), ("Consistency", word), ("BindOptions", .optional(.anyObject)),
                        ("VolumeOptions", .optional(.anyObject)), ("TmpfsOptions", .optional(.anyObject)),
                    ])))
        ),
        ("ConsoleSize", .optional(.list(.integer()))), ("Annotations", map(.text())), ("CapAdd", texts),
        ("CapDrop", texts), ("Capabilities", texts), ("CgroupnsMode", word), ("Dns", texts), ("DnsOptions", texts),
        ("DnsSearch", texts), ("ExtraHosts", texts), ("GroupAdd", texts), ("IpcMode", word), ("Cgroup", word),
        ("Links", texts), ("OomScoreAdj", count), ("PidMode", word), ("Privileged", flag),
        ("PublishAllPorts", flag), ("ReadonlyRootfs", flag), ("SecurityOpt", texts), ("StorageOpt", map(.text())),
        ("Tmpfs", map(.text())), ("UTSMode", word), ("UsernsMode", word), ("ShmSize", count),
        ("Sysctls", map(.text())), ("Runtime", word), ("Isolation", word), ("MaskedPaths", texts),
        ("ReadonlyPaths", texts),
    ]

    private static let networking = engineObject([
        ("EndpointsConfig", map(.optional(.anyObject)))
    ])
}
