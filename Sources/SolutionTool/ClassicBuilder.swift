import DockerEngine
import NIOCore
import SolutionTemplate

/// The engine's own builder, over its API: there wherever an engine is, and the only one that bounds the memory and
/// processors of the steps.
struct ClassicBuilder: ImageMaker {
    let engine: DockerEngine
    let name = "the engine's classic builder"

    /// The context is put together in memory up to this size, and sent as it is read beyond it.
    private static let memoryLimit = 4 << 20

    func build(_ request: BuildRequest, log: BuildLog) async throws {
        let (context, options) = (request.context, request.options)
        var build = ImageBuild(tags: [request.tag], dockerfile: context.dockerfileName)
        build.arguments = options.arguments.map { ($0.name, $0.value) }
        build.labels = options.labels.map { ($0.name, $0.value ?? "") }
        build.target = options.target
        build.platform = options.platform
        build.noCache = options.noCache
        build.pull = options.pull
        build.network = options.network
        build.extraHosts = options.extraHosts
        build.cacheFrom = options.cacheFrom
        build.squash = options.squash
        let limits: [(String, String?)] = [
            ("cpushares", options.cpuShares), ("cpusetcpus", options.cpuSet),
            ("memory", options.memory.map(String.init)), ("memswap", options.memorySwap.map(String.init)),
            ("shmsize", options.sharedMemory.map(String.init)),
        ]
        build.otherParameters = limits.compactMap { name, value in value.map { (name: name, value: $0) } }
        build.credentials = request.credentials
        do {
            if context.estimatedSize <= Self.memoryLimit {
                var archive = context.archive().makeAsyncIterator()
                try await engine.buildImage(build, context: try archive.whole()) { log.add($0) }
            } else {
                try await engine.buildImage(build, context: context.archive()) { log.add($0) }
            }
        } catch let error as EngineError {
            if error.code == .unreachable { throw Solution.unreachable(error) }
            if error.code == .cancelled { throw CancellationError() }
            let line = log.step.flatMap { step in
                request.facts.stepLines.indices.contains(step - 1) ? request.facts.stepLines[step - 1] : nil
            }
            throw BuildFailure(reason: error.reason, line: line ?? BuildFailureText.line(in: error.reason))
        }
    }
}

/// What builders say about places.
enum BuildFailureText {
    /// The number in `parse error line 3` or `parse error on line 3`.
    static func line(in reason: String) -> Int? {
        for mark in ["parse error line ", "parse error on line ", "dockerfile line "] {
            guard let range = reason.firstRange(of: mark) else { continue }
            if let line = Int(reason[range.upperBound...].prefix(while: \.isNumber)) { return line }
        }
        return nil
    }
}
