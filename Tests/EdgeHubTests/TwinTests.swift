import DeviceGateway
import EdgeHub
import HubProtocol
import JSONDocument
import Model
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(5))) struct TwinTests {
    let fixture = EdgeHubFixture()

    private func twin(_ hub: EdgeHub, _ session: TestSession) async throws -> JSONValue {
        try await JSONValue(parsing: hub.twin(of: session.identity).readableBytesView)
    }

    /// Waits until the hub's twin is known here.
    private func firstTwin(_ hub: EdgeHub, _ session: TestSession) async throws {
        await fixture.upstream.state.wait { $0.connections[probe] != nil }
        while try await twin(hub, session)["desired"]?["$version"]?.int != 1 { await Task.yield() }
    }

    private func report(_ hub: EdgeHub, _ session: TestSession, _ text: String, expected: Int? = nil) async throws
        -> Int?
    {
        try await hub.report(ByteBuffer(string: text), expectedVersion: expected, from: session.identity)
    }

    @Test func `A twin that was never seen is empty, one that was seen is answered without the hub`() async throws {
        fixture.upstream.patchDesired(probe, ["period": 20])
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            await fixture.upstream.state.wait { $0.connections[probe] != nil }
            #expect(try await twin(hub, session)["desired"] == ["period": 20, "$version": 2])
            fixture.upstream.cut()
            #expect(try await twin(hub, session)["desired"] == ["period": 20, "$version": 2])
        }
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            #expect(try await twin(hub, session)["desired"] == ["period": 20, "$version": 2])
            let other = try await fixture.connect(lamp, to: hub)
            #expect(try await twin(hub, other) == ["desired": ["$version": 0], "reported": ["$version": 0]])
        }
    }

    @Test func `Who asks while the first connection is being made gets the hub's twin, not an empty one`() async throws
    {
        fixture.upstream.patchDesired(probe, ["period": 20])
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            #expect(try await twin(hub, session)["desired"] == ["period": 20, "$version": 2])
        }
    }

    @Test func `A report that waits is no twin: who asks after a restart gets the hub's twin`() async throws {
        fixture.upstream.cut()
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            _ = try await report(hub, session, #"{"state": 1}"#)
        }
        fixture.upstream.patchDesired(probe, ["period": 20])
        fixture.upstream.restore()
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            #expect(try await twin(hub, session)["desired"] == ["period": 20, "$version": 2])
        }
    }

    @Test func `Who asks before the hub is reached and listens afterwards is told what it missed`() async throws {
        fixture.upstream.cut()
        fixture.upstream.patchDesired(probe, ["period": 20])
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            #expect(try await twin(hub, session)["desired"] == ["$version": 0])
            fixture.upstream.restore()
            await fixture.upstream.state.wait { $0.connections[probe] != nil }
            hub.subscriptionsChanged(session, to: [.desiredProperties])
            let patches = await session.state.wait { !$0.desired.isEmpty }.desired
            #expect(try JSONValue(parsing: patches[0].patch) == ["period": 20, "$version": 2])
        }
    }

    @Test func `Desired changes come down in order, and a gap is closed by the difference`() async throws {
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub, listeningTo: [.desiredProperties])
            try await firstTwin(hub, session)
            #expect(session.state.value.desired.isEmpty)
            fixture.upstream.patchDesired(probe, ["a": 1, "b": ["c": 2, "d": 3]])
            await session.state.wait { $0.desired.last?.version == 2 }
            fixture.upstream.patchDesired(probe, ["a": .null], telling: false)
            fixture.upstream.patchDesired(probe, ["b": ["c": 5]])
            let patches = await session.state.wait { $0.desired.last?.version == 4 }.desired
            #expect(
                try JSONValue(parsing: patches[patches.count - 1].patch) == ["a": .null, "b": ["c": 5], "$version": 4])
            fixture.upstream.cut()
            fixture.upstream.patchDesired(probe, ["new": true])
            fixture.upstream.restore()
            let last = await session.state.wait { $0.desired.last?.version == 5 }.desired
            #expect(try JSONValue(parsing: last[last.count - 1].patch) == ["new": true, "$version": 5])
        }
    }

    @Test func `Reported properties are merged while the hub is away and sent when it is back`() async throws {
        fixture.upstream.state.change { $0.twins[probe] = .init(reported: ["old": ["x": 1, "y": 2]]) }
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub, listeningTo: [.desiredProperties])
            try await firstTwin(hub, session)
            #expect(try await report(hub, session, #"{"online":1}"#) == 2)
            fixture.upstream.cut()
            #expect(try await report(hub, session, #"{"online":2,"gone":1}"#) == nil)
            #expect(try await report(hub, session, #"{"gone":null,"old":null}"#) == nil)
            #expect(try await report(hub, session, #"{"old":{"z":3}}"#) == nil)
            #expect(try await twin(hub, session)["reported"] == ["old": ["z": 3], "online": 2, "$version": 2])
        }
        fixture.upstream.restore()
        try await fixture.serve { _ in
            let twins = await fixture.upstream.state.wait { $0.twins[probe]?.reported["online"] == 2 }.twins
            #expect(twins[probe]?.reported == ["old": ["z": 3], "online": 2])
        }
    }

    @Test func `A patch that breaks a rule is refused with or without a hub`() async throws {
        fixture.upstream.cut()
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            for bad in ["[]", "{", #"{"a.b":1}"#, #"{"a":[null]}"#, #"{"a":4503599627370496}"#] {
                await #expect(throws: HubError.self, "\(bad)") { try await report(hub, session, bad) }
            }
            await #expect(throws: HubError.self) { try await report(hub, session, #"{"a":1}"#, expected: 9) }
            #expect(try await report(hub, session, #"{"a":1}"#, expected: 0) == nil)
        }
    }

    @Test func `The edge hub reports who is connected`() async throws {
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            let twins = await fixture.upstream.state.wait {
                $0.twins[ownIdentity]?.reported["clients"]?["pi/probe"]?["status"] == "Connected"
            }.twins
            #expect(
                twins[ownIdentity]?.reported["clients"]?["pi/probe"]?["lastConnectedTimeUtc"]?.string?.hasSuffix("Z")
                    == true)
            hub.closed(session)
            await fixture.upstream.state.wait {
                $0.twins[ownIdentity]?.reported["clients"]?["pi/probe"]?["status"] == "Disconnected"
            }
        }
    }

    @Test func `Persistent subscriptions are found again after a restart`() async throws {
        try await fixture.serve { hub in
            _ = try await fixture.connect(probe, to: hub, listeningTo: [.methods], persistent: true)
            let second = TestSession(probe, hub)
            let resumption = try await hub.open(second, persistent: true)
            #expect(resumption.isPresent)
            #expect(resumption.subscriptions == [.methods])
            let third = TestSession(probe, hub)
            #expect(try await hub.open(third, persistent: false).isPresent == false)
            #expect(second.state.value.closure == .takenOver)
            let fourth = TestSession(probe, hub)
            #expect(try await hub.open(fourth, persistent: true).subscriptions.isEmpty)
        }
    }
}
