package import JSONDocument
import NIOCore

/// What an engine says of itself and its machine.
package struct EngineInformation: Sendable {
    package let serverVersion: String
    /// `linux`.
    package let operatingSystemType: String
    /// As the kernel names it: `x86_64`, `aarch64`, `armv7l`.
    package let architecture: String
    package let operatingSystem: String
    package let kernelVersion: String
    package let hostName: String
    package let processorCount: Int
    /// In bytes.
    package let memory: Int
    package let dataFolder: String
    /// The whole answer.
    package let raw: JSONValue

    init(_ raw: JSONValue) {
        self.raw = raw
        serverVersion = raw["ServerVersion"]?.string ?? ""
        operatingSystemType = raw["OSType"]?.string ?? ""
        architecture = raw["Architecture"]?.string ?? ""
        operatingSystem = raw["OperatingSystem"]?.string ?? ""
        kernelVersion = raw["KernelVersion"]?.string ?? ""
        hostName = raw["Name"]?.string ?? ""
        processorCount = raw["NCPU"]?.int ?? 0
        memory = raw["MemTotal"]?.int ?? 0
        dataFolder = raw["DockerRootDir"]?.string ?? ""
    }
}

extension DockerEngine {
    /// Whether the engine answers.
    package func ping() async throws(EngineError) {
        try await perform(EngineRequest(path: "/_ping", timeout: .seconds(10), isVersioned: false))
    }

    package func information() async throws(EngineError) -> EngineInformation {
        EngineInformation(try await json(EngineRequest(path: "/info")))
    }

    /// The whole answer to `/version`.
    package func versionDetails() async throws(EngineError) -> JSONValue {
        try await json(EngineRequest(path: "/version"))
    }
}
