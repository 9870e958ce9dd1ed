import DeviceClient
import EdgeAgent
import JSONDocument
import Logging
import NIOCore
import Synchronization

/// The agent's link to the hub: a connection as `$edgeAgent`.
final class AgentLink: DesiredSource {
    private let client: DeviceClient
    private let logger: Logger

    init(_ client: DeviceClient, logger: Logger) {
        self.client = client
        self.logger = logger
    }

    func follow(_ deliver: @escaping @Sendable (DesiredSignal) async -> Void) async {
        // One stream for both keeps them in their order.
        let (signals, continuation) = AsyncStream.makeStream(of: Signal.self)
        await withDiscardingTaskGroup { group in
            group.addTask { await self.client.run() }
            group.addTask {
                for await state in self.client.connectionStates() { continuation.yield(.state(state)) }
            }
            group.addTask {
                for await _ in self.client.desiredChanges { continuation.yield(.changed) }
            }
            for await signal in signals { await self.pass(signal, deliver) }
            group.cancelAll()
        }
    }

    private enum Signal: Sendable {
        case state(ConnectionState)
        case changed
    }

    private func pass(_ signal: Signal, _ deliver: @Sendable (DesiredSignal) async -> Void) async {
        switch signal {
        case .state(.connected):
            do {
                let (desired, reported) = try await twin()
                await deliver(.connected(desired: desired, reported: reported))
            } catch {
                // The connection has ended again, or will; the next one reads it.
                logger.warning("the agent's twin could not be read", metadata: ["reason": "\(error)"])
            }
        case .state(.disconnected): await deliver(.disconnected)
        case .state(.connecting): break
        case .changed: await deliver(.desiredChanged)
        }
    }

    func twin() async throws -> (desired: JSONValue, reported: JSONValue) {
        let twin = try JSONValue(parsing: try await client.twin().readableBytesView)
        return (twin["desired"] ?? [:], twin["reported"] ?? [:])
    }

    func report(_ patch: JSONValue) async throws { try await client.report(patch) }
}
