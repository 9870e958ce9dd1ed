import DeviceGateway
import EdgeHub
import HubProtocol
import Testing

/// Messages of the cloud for leaf devices pass through the edge hub and stay with the hub until they are settled.
@Suite(.timeLimit(.minutes(5))) struct CloudToDeviceTests {
    let fixture = EdgeHubFixture()

    @Test func `The hub is asked for messages only once somebody listens, and told what became of them`() async throws {
        fixture.knowLeaf()
        try await fixture.serve { hub in
            let session = try await fixture.connect(leaf, to: hub)
            await fixture.upstream.state.wait { $0.connections[leaf] != nil }
            #expect(fixture.upstream.state.value.listeners.isEmpty)
            hub.subscriptionsChanged(session, to: [.cloudToDevice])
            await fixture.upstream.state.wait { $0.listeners == [leaf] }
            fixture.upstream.sendToDevice(leaf, "a")
            fixture.upstream.sendToDevice(leaf, "b")
            let cloud = await session.state.wait { $0.cloud.count == 2 }.cloud
            #expect(cloud.map(\.body) == ["a", "b"])
            #expect(fixture.upstream.state.value.cloudOutcomes.isEmpty)
            hub.settled(cloud[0].token, .completed, by: session)
            hub.settled(cloud[1].token, .rejected, by: session)
            let outcomes = await fixture.upstream.state.wait { $0.cloudOutcomes.count == 2 }.cloudOutcomes
            #expect(outcomes == ["a": .completed, "b": .rejected])
        }
    }

    @Test func `What a device did not settle goes to its next session, what it abandoned comes again`() async throws {
        fixture.knowLeaf()
        try await fixture.serve { hub in
            let first = try await fixture.connect(leaf, to: hub, listeningTo: [.cloudToDevice])
            await fixture.upstream.state.wait { $0.listeners == [leaf] }
            fixture.upstream.sendToDevice(leaf, "a")
            let given = await first.state.wait { $0.cloud.count == 1 }.cloud[0]
            hub.settled(given.token, .abandoned, by: first)
            await first.state.wait { $0.cloud.map(\.body) == ["a", "a"] }
            hub.closed(first)
            let second = try await fixture.connect(leaf, to: hub, listeningTo: [.cloudToDevice])
            let again = await second.state.wait { $0.cloud.count == 1 }.cloud[0]
            #expect(again.body == "a")
            hub.settled(again.token, .completed, by: second)
            await fixture.upstream.state.wait { $0.cloudOutcomes["a"] == .completed }
        }
    }

    @Test func `After an outage the new connection listens again`() async throws {
        fixture.knowLeaf()
        try await fixture.serve { hub in
            let session = try await fixture.connect(leaf, to: hub, listeningTo: [.cloudToDevice])
            await fixture.upstream.state.wait { $0.listeners == [leaf] }
            fixture.upstream.sendToDevice(leaf, "a")
            await session.state.wait { $0.cloud.count == 1 }
            fixture.upstream.state.change { $0.listeners = [] }
            fixture.upstream.cut()
            fixture.upstream.restore()
            await fixture.upstream.state.wait { $0.listeners == [leaf] }
            // Not settled, so the hub gives it again.
            fixture.upstream.sendToDevice(leaf, "a")
            let cloud = await session.state.wait { $0.cloud.count == 2 }.cloud
            hub.settled(cloud[1].token, .completed, by: session)
            await fixture.upstream.state.wait { $0.cloudOutcomes["a"] == .completed }
        }
    }
}
