package import DeviceClient
import HubProtocol
package import JSONDocument
package import Logging
import NIOCore
import Synchronization

/// The agent's link to the hub over a `DeviceClient` that is `$edgeAgent`.
///
/// `EdgeAgent.run()` keeps it connected; methods are answered by the agent given to `answerMethods(with:)`.
package final class HubLink: DesiredSource {
    private let client: DeviceClient
    private let responder: MethodResponder
    private let logger: Logger

    /// - Parameter configuration: with `$edgeAgent` as identity and its credential; what it subscribes to and its method
    ///   handler are set here.
    package init(_ configuration: DeviceClientConfiguration, logger: Logger) {
        let responder = MethodResponder()
        var configuration = configuration
        configuration.subscriptions = [.twinAnswers, .desiredProperties, .methods]
        configuration.methodHandler = { await responder.answer($0) }
        client = DeviceClient(configuration, logger: logger)
        self.responder = responder
        self.logger = logger
    }

    package func answerMethods(with agent: EdgeAgent) { responder.agent.withLock { $0 = agent } }

    /// Whether the hub is reached at this moment.
    package var isConnected: Bool { client.connectionState.isConnected }

    package func follow(_ deliver: @escaping @Sendable (DesiredSignal) async -> Void) async {
        let (news, continuation) = AsyncStream.makeStream(of: News.self, bufferingPolicy: .bufferingNewest(256))
        let states = client.connectionStates()
        await withDiscardingTaskGroup { group in
            group.addTask {
                await self.client.run()
                continuation.finish()
            }
            group.addTask { for await state in states { continuation.yield(.state(state)) } }
            group.addTask { for await _ in self.client.desiredChanges { continuation.yield(.desired) } }
            for await item in news {
                switch item {
                case .state(.connected): await greet(deliver)
                case .state(.disconnected): await deliver(.disconnected)
                case .state(.connecting): break
                case .desired: await deliver(.desiredChanged)
                }
            }
            group.cancelAll()
        }
    }

    private enum News: Sendable {
        case state(ConnectionState)
        case desired
    }

    /// Tells that the hub is there, as soon as the twin was read.
    private func greet(_ deliver: @Sendable (DesiredSignal) async -> Void) async {
        while client.connectionState.isConnected, !Task.isCancelled {
            do {
                let twin = try await twin()
                await deliver(.connected(desired: twin.desired, reported: twin.reported))
                return
            } catch {
                logger.warning("the twin of the agent cannot be read: \(error)")
                try? await Task.sleep(for: .seconds(5))
            }
        }
    }

    package func twin() async throws -> (desired: JSONValue, reported: JSONValue) {
        let twin = try JSONValue(parsing: try await client.twin().readableBytesView)
        return (twin["desired"] ?? [:], twin["reported"] ?? [:])
    }

    package func report(_ patch: JSONValue) async throws { try await client.report(patch) }
}

/// Stands between the client, which is made first, and the agent, which is made from it.
private final class MethodResponder: Sendable {
    let agent = Mutex<EdgeAgent?>(nil)

    func answer(_ call: MethodCall) async -> MethodResult {
        guard let agent = agent.withLock({ $0 }) else {
            return MethodResult(status: 503, payload: ByteBuffer(string: "{\"message\":\"the agent is starting\"}"))
        }
        let payload: JSONValue
        do {
            payload =
                call.payload.readableBytes == 0 ? .null : try JSONValue(parsing: call.payload.readableBytesView)
        } catch {
            let answer: JSONValue = ["message": .string("the payload is no JSON: \(error)")]
            return MethodResult(status: 400, payload: ByteBuffer(bytes: answer.bytes()))
        }
        let answer = await agent.answer(method: call.name, payload: payload)
        return MethodResult(status: answer.status, payload: ByteBuffer(bytes: answer.payload.bytes()))
    }
}
