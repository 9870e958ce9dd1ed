package import DockerEngine
import FoundationEssentials
import JSONDocument
import NIOCore
import NIOHTTP1
package import Transport

/// The management API on the daemon's own socket (edge-runtime.md, C.2): the modules of this device, their logs, and
/// starting and stopping them.
///
/// The socket's mode decides who may use it. Nothing here holds a lock while the engine works.
package struct ManagementResponder: HTTPResponder {
    private let engine: DockerEngine
    private let modules: @Sendable () async throws -> [ManagedContainer]
    private let register: ModuleIdentityRegister
    private let version: String

    /// A container of this device and the module that it is.
    package struct ManagedContainer: Sendable {
        package let moduleID: String
        package let container: ContainerSummary

        package init(moduleID: String, container: ContainerSummary) {
            self.moduleID = moduleID
            self.container = container
        }
    }

    package init(
        engine: DockerEngine, register: ModuleIdentityRegister, version: String,
        modules: @escaping @Sendable () async throws -> [ManagedContainer]
    ) {
        self.engine = engine
        self.register = register
        self.version = version
        self.modules = modules
    }

    private static let versions: Set<String> = [
        "2018-06-28", "2019-01-30", "2019-10-22", "2019-11-05", "2020-07-07", "2021-12-07", "2022-08-03",
    ]

    package func respond(to request: HTTPRequest) async -> HTTPResponse {
        do {
            guard let version = request.parameter("api-version"), Self.versions.contains(version) else {
                throw DaemonRefusal(
                    .badRequest, "api-version has to be one of \(Self.versions.sorted().joined(separator: ", "))")
            }
            return try await answer(request)
        } catch let refusal as DaemonRefusal {
            return .json(refusal.status, ["message": .string(refusal.message)])
        } catch let error as EngineError {
            return .json(error.status == 404 ? .notFound : .internalServerError, ["message": .string(error.reason)])
        } catch {
            return .json(.internalServerError, ["message": .string("\(error)")])
        }
    }

    private func answer(_ request: HTTPRequest) async throws -> HTTPResponse {
        let path = request.path.filter { !$0.isEmpty }
        switch (request.method, path.first, path.count) {
        case (.GET, "modules"?, 1):
            var list: [JSONValue] = []
            for module in try await modules() { list.append(try await details(module)) }
            return .json(.ok, ["modules": JSONValue(list)])
        case (.GET, "modules"?, 2):
            return .json(.ok, try await details(find(path[1])))
        case (.GET, "modules"?, 3) where path[2] == "logs":
            return try await logs(request, find(path[1]))
        case (.POST, "modules"?, 3):
            let container = try await find(path[1]).container.id
            switch path[2] {
            case "start": try await engine.startContainer(container)
            case "stop": try await engine.stopContainer(container)
            case "restart": try await engine.restartContainer(container)
            default: throw DaemonRefusal(.notFound, "there is no operation \(path[2])")
            }
            return HTTPResponse(status: .noContent)
        case (.GET, "identities"?, 1):
            let identities = await register.all.map { identity -> JSONValue in
                [
                    "moduleId": .string(identity.moduleID), "managedBy": .string(identity.managedBy),
                    "generationId": .string(identity.generationID), "authType": "sas",
                ]
            }
            return .json(.ok, ["identities": JSONValue(identities)])
        case (.GET, "systeminfo"?, 1):
            return .json(.ok, try await systemInformation())
        default:
            throw DaemonRefusal(.notFound, "there is no \(request.method) \(request.target) in the management API")
        }
    }

    private func find(_ moduleID: String) async throws -> ManagedContainer {
        guard let module = try await modules().first(where: { $0.moduleID == moduleID }) else {
            throw DaemonRefusal(.notFound, "this device has no module \(moduleID)")
        }
        return module
    }

    private func details(_ module: ManagedContainer) async throws -> JSONValue {
        let facts = try await engine.inspectContainer(module.container.id)
        return [
            "id": .string(facts.id), "name": .string(module.moduleID), "type": "docker",
            "config": ["settings": ["image": .string(facts.image), "imageHash": .string(facts.imageID)], "env": []],
            "status": [
                "startTime": .string(facts.startedAt),
                "exitStatus": [
                    "exitTime": .string(facts.finishedAt), "statusCode": .string(String(facts.exitCode)),
                ],
                "runtimeStatus": [
                    "status": .string(facts.state), "description": .string(module.container.status),
                ],
            ],
        ]
    }

    private func logs(_ request: HTTPRequest, _ module: ManagedContainer) async throws -> HTTPResponse {
        let selection = LogSelection(
            follow: request.parameter("follow") == "true", tail: request.parameter("tail").flatMap(Int.init),
            since: request.parameter("since"), until: request.parameter("until"),
            timestamps: request.parameter("timestamps") == "true")
        let (stream, continuation) = AsyncStream.makeStream(
            of: ByteBuffer.self, bufferingPolicy: .bufferingOldest(1024))
        let task = Task { [engine] in
            try? await engine.logs(of: module.container.id, selection) { continuation.yield($0.bytes) }
            continuation.finish()
        }
        continuation.onTermination = { _ in task.cancel() }
        return HTTPResponse(status: .ok, headers: ["content-type": "text/plain; charset=utf-8"], body: .stream(stream))
    }

    private func systemInformation() async throws -> JSONValue {
        let information = try await engine.information()
        return [
            "osType": .string(information.operatingSystemType), "architecture": .string(information.architecture),
            "version": .string(version), "serverVersion": .string(information.serverVersion),
            "kernelVersion": .string(information.kernelVersion),
            "operatingSystem": .string(information.operatingSystem), "cpus": JSONValue(information.processorCount),
            "provisioning": ["type": "manual", "dynamicReprovisioning": false, "alwaysReprovisionOnStartup": false],
        ]
    }
}
