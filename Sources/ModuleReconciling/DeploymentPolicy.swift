/// How a deployment is carried out: what the environment of `edgeAgent` in the manifest says about it.
///
/// The names are those of the agent that this one replaces where it has such a setting (edge-runtime.md, B.14); the others
/// begin with `Hedgerow`. An agent that does not know a variable passes over it, so that one manifest serves both.
package struct DeploymentPolicy: Sendable, Hashable {
    /// Whether a set that fails gives way to the last good one: `HedgerowRollback`.
    package var rollsBack = true
    /// Seconds for which a new set has to run without fault before it becomes the last good one:
    /// `HedgerowProbationSeconds`.
    package var probation = 60
    /// Seconds that modules may take until they run, are healthy and have said that they are ready:
    /// `HedgerowReadinessSeconds`.
    package var readiness = 300
    /// Whether a module is started only when those of lower startup order are ready: `HedgerowStartupWait`.
    package var startsWhenReady = false
    /// Whether one image that cannot be had holds up the whole set, also where nothing would be replaced:
    /// `ModuleUpdateMode` = `WaitForAllPulls`.
    package var waitsForAllPulls = false
    /// `MaxRestartCount`.
    package var maximumRestarts: Int?
    /// Seconds: `CoolOffTimeUnitInSeconds`.
    package var backOffUnit: Int?
    /// Seconds: `IntensiveCareTimeInMinutes`.
    package var intensiveCare: Int?

    package init() {}

    /// - Parameter environment: later variables of one name win.
    /// - Throws: for a value of our own variables that cannot be understood; what other agents read is passed over then.
    package init(_ environment: [EnvironmentVariable], at path: String) throws(ManifestError) {
        for variable in environment {
            switch variable.name.lowercased() {
            case "hedgerowrollback": rollsBack = try Self.flag(variable, path)
            case "hedgerowprobationseconds": probation = try Self.seconds(variable, path)
            case "hedgerowreadinessseconds": readiness = try Self.seconds(variable, path)
            case "hedgerowstartupwait":
                switch variable.value.lowercased() {
                case "started": startsWhenReady = false
                case "ready": startsWhenReady = true
                default: throw Self.wrong(variable, path, "started or ready")
                }
            case "moduleupdatemode": waitsForAllPulls = variable.value.lowercased() == "waitforallpulls"
            case "maxrestartcount": maximumRestarts = Self.number(variable, upTo: 1_000_000) ?? maximumRestarts
            case "coolofftimeunitinseconds":
                backOffUnit = Self.number(variable, upTo: 3600) ?? backOffUnit
            case "intensivecaretimeinminutes":
                intensiveCare = Self.number(variable, upTo: 10_000).map { $0 * 60 } ?? intensiveCare
            default: break
            }
        }
    }

    /// The back-off with what the manifest says of it.
    package func applied(to backOff: BackOff) -> BackOff {
        var backOff = backOff
        backOff.maximumRestarts = maximumRestarts ?? backOff.maximumRestarts
        backOff.unit = backOffUnit ?? backOff.unit
        backOff.intensiveCare = intensiveCare ?? backOff.intensiveCare
        return backOff
    }

    private static func flag(_ variable: EnvironmentVariable, _ path: String) throws(ManifestError) -> Bool {
        switch variable.value.lowercased() {
        case "true", "on", "1": return true
        case "false", "off", "0": return false
        default: throw wrong(variable, path, "true or false")
        }
    }

    private static func seconds(_ variable: EnvironmentVariable, _ path: String) throws(ManifestError) -> Int {
        guard let number = number(variable, upTo: 86_400) else {
            throw wrong(variable, path, "a number of seconds from 0 to 86400")
        }
        return number
    }

    private static func number(_ variable: EnvironmentVariable, upTo limit: Int) -> Int? {
        Int(variable.value).flatMap { (0...limit).contains($0) ? $0 : nil }
    }

    private static func wrong(_ variable: EnvironmentVariable, _ path: String, _ expected: String) -> ManifestError {
        ManifestError(.malformed, "\(path).\(variable.name) is \"\(variable.value)\"; it must be \(expected)")
    }
}
