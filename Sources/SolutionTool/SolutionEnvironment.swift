package import SolutionTemplate
import SystemPackage

/// The variables that a solution sees, and the settings among them: the process's environment, the `.env` file of the
/// working folder, and the defaults of settings that neither gives.
package struct SolutionEnvironment: Sendable {
    private let process: [String: String]
    /// What templates and module descriptions can use.
    package let variables: [String: String]
    /// Absolute.
    package let workingFolder: String
    /// The `.env` file, as named; nil when there is none.
    package let environmentFile: String?
    /// The lines of that file that say nothing.
    package let notes: [SolutionFinding]

    /// A setting that is unset or blank gets its default, and templates see that default too.
    private static let defaults = [
        "MODULES_PATH": "modules", "CONFIG_OUTPUT_DIR": "config",
        "DEPLOYMENT_CONFIG_TEMPLATE_FILE": "deployment.template.json",
        "DEPLOYMENT_CONFIG_DEBUG_TEMPLATE_FILE": "deployment.debug.template.json", "DEFAULT_PLATFORM": "amd64",
        "DEFAULT_MODULE_NAME": "filtermodule", "LOGS_PATH": "logs",
        // Templates see it; nothing here uses it.
        "LOGS_CMD": "start /B start cmd.exe @cmd /k docker logs {0} -f",
    ]

    /// Reads the environment file of a working folder.
    ///
    /// - Parameter process: the environment of the process, which wins over the file.
    /// - Throws: `badSetting` for a malformed connection string, `missingFile` when the file exists and cannot be read.
    package init(process: [String: String], workingFolder: String) throws(SolutionError) {
        self.workingFolder = workingFolder
        self.process = process
        var name = (process["DOTENV_FILE"] ?? "")[...]
        for quote in ["\"", "'"] as [Character] {
            while name.first == quote { name.removeFirst() }
            while name.last == quote { name.removeLast() }
        }
        let file = name.isEmpty ? ".env" : String(name)
        var variables = process
        do {
            let content = try LocalFiles.read(Paths.join(workingFolder, file))
            let text = String(decoding: content, as: UTF8.self)
            variables = EnvironmentFile.merge(text, into: process)
            environmentFile = file
            notes = EnvironmentFile.brokenLines(in: text).map { line in
                SolutionFinding(
                    .warning, .variable,
                    "this line is passed over: it is no NAME=value; a quote may lack its end", file: file,
                    place: SourcePlace(line: line, column: 1))
            }
        } catch {
            guard error == .noSuchFileOrDirectory || error == .isDirectory else {
                throw SolutionError(.missingFile, "cannot be read: \(error)", file: file)
            }
            environmentFile = nil
            notes = []
        }
        for (name, value) in Self.defaults where (variables[name] ?? "").trimmed.isEmpty { variables[name] = value }
        self.variables = variables
        try checkHubConnectionString()
        try checkDeviceConnectionString()
    }

    /// The same with the environment file as it is now.
    func readAgain() throws(SolutionError) -> SolutionEnvironment {
        try SolutionEnvironment(process: process, workingFolder: workingFolder)
    }

    /// A setting without blanks at its ends; empty when it is not set.
    package func setting(_ name: String) -> String { (variables[name] ?? "").trimmed }

    package var defaultTemplate: String { setting("DEPLOYMENT_CONFIG_TEMPLATE_FILE") }
    package var debugTemplate: String { setting("DEPLOYMENT_CONFIG_DEBUG_TEMPLATE_FILE") }
    package var defaultPlatform: String { setting("DEFAULT_PLATFORM") }
    /// Relative to the working folder.
    package var outputFolder: String { setting("CONFIG_OUTPUT_DIR") }
    /// Relative to a template's folder.
    package var modulesPath: String { setting("MODULES_PATH") }
    package var containerTag: String { setting("CONTAINER_TAG") }

    /// Whether a module of the template is neither to be built nor to be pushed.
    func bypasses(module: String) -> Bool {
        let names = setting("BYPASS_MODULES").split(separator: ",").map(\.trimmed)
        return names.first == "*" || names.contains(module)
    }

    /// A path as seen from the working folder.
    func path(_ path: String) -> String { Paths.join(workingFolder, path) }

    /// The members of a connection string in a variable, by their names in lower case.
    package func connectionString(_ name: String) -> [String: String] {
        var members: [String: String] = [:]
        for part in setting(name).split(separator: ";") {
            guard let mark = part.firstIndex(of: "=") else { continue }
            members[part[..<mark].lowercased()] = part[part.index(after: mark)...].trimmed
        }
        return members
    }

    /// A string without a key is let pass here: only what talks to the hub needs one.
    private func checkHubConnectionString() throws(SolutionError) {
        let name = "IOTHUB_CONNECTION_STRING"
        guard !setting(name).isEmpty else { return }
        let members = connectionString(name)
        let missing =
            members["hostname"] == nil
            ? "HostName"
            : members["sharedaccesskey"] != nil && members["sharedaccesskeyname"] == nil ? "SharedAccessKeyName" : nil
        if let missing {
            throw SolutionError(
                .badSetting,
                "the connection string in \(name) has no \(missing); it needs HostName, SharedAccessKeyName, SharedAccessKey"
            )
        }
    }

    private func checkDeviceConnectionString() throws(SolutionError) {
        let name = "DEVICE_CONNECTION_STRING"
        let members = connectionString(name)
        if !members.isEmpty, members["hostname"] == nil {
            throw SolutionError(
                .badSetting,
                "the connection string in \(name) has no HostName; it needs HostName, DeviceId, SharedAccessKey")
        }
    }
}
