package import DockerEngine
package import ModuleReconciling

/// What the agent has to know of the device that it works on.
package struct EdgeAgentConfiguration: Sendable {
    /// How containers are named.
    package enum ContainerNaming: Sendable, Hashable {
        /// The module's name, as the runtime that this one replaces does it. When a container of somebody else has
        /// that name, `DEVICE.MODULE`.
        case module
        /// `PREFIXMODULE`, always.
        case prefixed(String)
    }

    package var deviceID: String
    package var hubHostName: String
    /// The name under which modules reach the edge hub; its server certificate carries it.
    package var gatewayHostName: String
    /// What that name stands for inside containers: an address, or `host-gateway`. Nil takes the machine's own
    /// address in the network of the modules.
    package var gatewayAddress: String?
    /// The folder, as the engine's machine sees it, that holds the `workload.sock` of a module. The folder is mounted
    /// at `/var/run/iotedge` in the module's container, so that the socket may be made anew at any time.
    package var workloadFolder: @Sendable (_ module: String) async throws -> String
    package var networkName = "azure-iot-edge"
    package var containerNaming = ContainerNaming.module
    /// Where the last good deployment is kept; it must exist.
    package var stateFolder: String
    package var engine: EngineEndpoint
    /// Takes the place of `$upstream` in the names of images, on a device below another.
    package var parentHostName: String?
    /// `linux/arm/v7` when modules are not of the engine's own platform; else nil.
    package var platform: String?
    /// Further variables for every module, such as `RuntimeLogLevel`.
    package var moduleEnvironment: [EnvironmentVariable] = []
    /// Reported as the agent's version.
    package var runtimeVersion = "1.0.0"
    package var backOff = BackOff()
    package var parallelPulls = 2
    /// A pull that makes no progress for so long is given up, in seconds, and tried again later.
    package var pullPatience = 300
    /// What the device's own configuration gives to the agent as its environment; the manifest wins.
    package var agentEnvironment: [EnvironmentVariable] = []
    package var imageCollection = ImageCollection()
    /// Tells of reported properties of modules, for those that say themselves when they are ready.
    package var moduleReports: (any ModuleReports)?
    /// What this process has logged lately, which stands for the logs of the system modules.
    package var runtimeLog: @Sendable () -> String = { "" }
    /// Brings bytes to where a method says; nil refuses uploads.
    package var uploads: (any AgentUploads)?
    /// Called between the steps of a deployment; tests end the process there.
    package var faultPoint: @Sendable (AgentFaultPoint) async -> Void = { _ in }

    /// When images that nothing needs any more are taken away (edge-runtime.md, C.8).
    package struct ImageCollection: Sendable, Hashable {
        package var isEnabled = true
        /// Seconds between two looks.
        package var recurrence = 86_400
        /// Seconds since its last use.
        package var age = 7 * 86_400

        package init() {}
    }

    package init(
        deviceID: String, hubHostName: String, gatewayHostName: String, stateFolder: String, engine: EngineEndpoint,
        workloadFolder: @escaping @Sendable (_ module: String) async throws -> String
    ) {
        self.deviceID = deviceID
        self.hubHostName = hubHostName
        self.gatewayHostName = gatewayHostName
        self.stateFolder = stateFolder
        self.engine = engine
        self.workloadFolder = workloadFolder
    }
}
