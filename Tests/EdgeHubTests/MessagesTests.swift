import DeviceGateway
import EdgeHub
import EdgeStore
import HubProtocol
import JSONDocument
import Model
import NIOCore
import Testing

/// The order of the first copies; what comes twice is allowed.
private func firstCopies(_ bodies: [String]) -> [String] {
    var seen: Set<String> = []
    return bodies.filter { seen.insert($0).inserted }
}

@Suite(.timeLimit(.minutes(5))) struct MessagesTests {
    let fixture = EdgeHubFixture()

    @Test func `Without any configuration everything goes to the hub, in order, as the module itself`() async throws {
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            for number in 0..<20 { try await session.send(["\(number * 2)", "\(number * 2 + 1)"]) }
            await fixture.upstream.state.wait { $0.received[probe]?.count == 40 }
            #expect(fixture.upstream.received(from: probe) == (0..<40).map(String.init))
        }
    }

    @Test func `A message goes once to each endpoint that a route names`() async throws {
        try await fixture.serve { hub in
            _ = await fixture.route([
                "a": "FROM /messages/modules/probe/outputs/alerts INTO BrokeredEndpoint(\"/modules/lamp/inputs/on\")",
                "b": "FROM /messages/modules/probe/* INTO BrokeredEndpoint(\"/modules/lamp/inputs/on\")",
                "c": "FROM /messages/* INTO $upstream",
            ])
            let receiver = try await fixture.connect(lamp, to: hub, listeningTo: [.inputs])
            let sender = try await fixture.connect(probe, to: hub)
            try await sender.send((0..<50).map(String.init), output: "alerts")
            let inputs = await receiver.state.wait { $0.inputs.count == 50 }.inputs
            #expect(inputs.map(\.body) == (0..<50).map(String.init))
            #expect(inputs.allSatisfy { $0.name == "on" })
            #expect(inputs[0].bag == "$.cdid=pi&$.cmid=probe&%24.on=alerts&kind=test")
            await fixture.upstream.state.wait { $0.received[probe]?.count == 50 }
            #expect(fixture.upstream.received(from: lamp).isEmpty)
        }
    }

    @Test func `A message that no route takes is acknowledged and goes nowhere`() async throws {
        try await fixture.serve { hub in
            _ = await fixture.route(["only": "FROM /messages/modules/other/* INTO $upstream"])
            let session = try await fixture.connect(probe, to: hub)
            try await session.send(["lost"])
            #expect(await hub.waitingMessages(in: .upstream(from: probe)) == 0)
        }
    }

    @Test func `What was acknowledged while the hub was cut off arrives in order, each module's on its own`()
        async throws
    {
        let modules = (0..<4).map { IdentityKey(device: "pi", module: "m\($0)") }
        try await fixture.serve { hub in
            await withTaskGroup(of: Void.self) { group in
                for module in modules {
                    group.addTask {
                        guard let session = try? await fixture.connect(module, to: hub) else { return }
                        for number in 0..<200 { try? await session.send(["\(number)"]) }
                    }
                }
                group.addTask {
                    for round in 0..<8 {
                        fixture.upstream.state.change { $0.cutAfter = 13 * (round + 1) }
                        await fixture.upstream.state.wait { $0.cutAfter == nil }
                        let refused = fixture.upstream.state.value.refusedCount
                        fixture.upstream.cut()
                        // Not before somebody has found the hub gone.
                        await fixture.upstream.state.wait { $0.refusedCount > refused }
                        fixture.upstream.restore()
                    }
                }
            }
            for module in modules {
                await fixture.upstream.state.wait { Set($0.received[module] ?? []).count == 200 }
                #expect(firstCopies(fixture.upstream.received(from: module)) == (0..<200).map(String.init))
            }
        }
    }

    @Test func `What waits for the hub survives a restart of the edge hub`() async throws {
        fixture.upstream.cut()
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            try await session.send((0..<1_500).map(String.init))
        }
        fixture.upstream.restore()
        try await fixture.serve { _ in
            // Nobody is connected: the edge hub speaks to the hub in the module's name.
            await fixture.upstream.state.wait { $0.received[probe]?.count == 1_500 }
            #expect(fixture.upstream.received(from: probe) == (0..<1_500).map(String.init))
        }
    }

    @Test func `A module that left without acknowledging gets the same messages again, in order`() async throws {
        try await fixture.serve { hub in
            _ = await fixture.route([
                "a": "FROM /messages/modules/probe/* INTO BrokeredEndpoint(\"/modules/lamp/inputs/on\")"
            ])
            let sender = try await fixture.connect(probe, to: hub)
            let first = try await fixture.connect(lamp, to: hub, listeningTo: [.inputs])
            first.state.change { $0.settlesInputs = false }
            try await sender.send((0..<1_000).map(String.init))
            let seen = await first.state.wait { $0.inputs.count >= 256 }.inputs
            hub.settled(seen[0].token, .completed, by: first)
            hub.closed(first)
            let second = try await fixture.connect(lamp, to: hub, listeningTo: [.inputs])
            let inputs = await second.state.wait { $0.inputs.count == 999 }.inputs
            #expect(inputs.map(\.body) == (1..<1_000).map(String.init))
            #expect(await hub.waitingMessages(in: .input(of: lamp, name: "on")) == 0)
        }
    }

    @Test func `An abandoned message comes again, a rejected one does not`() async throws {
        try await fixture.serve { hub in
            _ = await fixture.route([
                "a": "FROM /messages/modules/probe/* INTO BrokeredEndpoint(\"/modules/lamp/inputs/on\")"
            ])
            let sender = try await fixture.connect(probe, to: hub)
            let receiver = try await fixture.connect(lamp, to: hub, listeningTo: [.inputs])
            receiver.state.change { $0.settlesInputs = false }
            try await sender.send(["a"])
            let first = await receiver.state.wait { $0.inputs.count == 1 }.inputs[0]
            hub.settled(first.token, .abandoned, by: receiver)
            let second = await receiver.state.wait { $0.inputs.count == 2 }.inputs[1]
            #expect(second.body == "a")
            #expect(second.token != first.token)
            hub.settled(second.token, .rejected, by: receiver)
            #expect(await hub.waitingMessages(in: .input(of: lamp, name: "on")) == 0)
        }
    }

    @Test func `A message that the hub refuses for good does not hold up the next`() async throws {
        fixture.upstream.state.change { $0.refusedBodies = ["bad"] }
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            try await session.send(["1", "bad", "2"])
            await fixture.upstream.state.wait { $0.received[probe]?.count == 2 }
            #expect(fixture.upstream.received(from: probe) == ["1", "2"])
        }
    }

    @Test func `A broken route is reported by its name and the others stay in force`() async throws {
        try await fixture.serve { hub in
            let twin = await fixture.route([
                "good": "FROM /messages/* INTO $upstream", "broken": "FROM /messages/* WHERE INTO $upstream",
                "strange": ["priority": 3],
            ])
            let status = twin?.reported["lastDesiredStatus"]
            #expect(status?["code"]?.int == 400)
            #expect(status?["description"]?.string?.contains("route 'broken': line 1, column") == true)
            #expect(status?["description"]?.string?.contains("route 'strange'") == true)
            let session = try await fixture.connect(probe, to: hub)
            try await session.send(["a"])
            await fixture.upstream.state.wait { $0.received[probe] == ["a"] }
            let mended = await fixture.route(["broken": .null, "strange": .null])
            #expect(mended?.reported["lastDesiredStatus"]?["code"]?.int == 200)
        }
    }

    @Test func `The last good routes are in force after a start without a hub`() async throws {
        try await fixture.serve { hub in
            _ = await fixture.route([
                "a": "FROM /messages/modules/probe/* INTO BrokeredEndpoint(\"/modules/lamp/inputs/on\")"
            ])
        }
        fixture.upstream.cut()
        try await fixture.serve { hub in
            let receiver = try await fixture.connect(lamp, to: hub, listeningTo: [.inputs])
            let sender = try await fixture.connect(probe, to: hub)
            try await sender.send(["a"])
            await receiver.state.wait { $0.inputs.map(\.body) == ["a"] }
        }
    }

    @Test func `A reported patch is a message for the routes that ask for it`() async throws {
        try await fixture.serve { hub in
            _ = await fixture.route([
                "changes": "FROM /twinChangeNotifications INTO BrokeredEndpoint(\"/modules/lamp/inputs/changes\")"
            ])
            let receiver = try await fixture.connect(lamp, to: hub, listeningTo: [.inputs])
            let sender = try await fixture.connect(probe, to: hub)
            _ = try await hub.report(.init(string: #"{"up":1}"#), expectedVersion: nil, from: sender.identity)
            let input = await receiver.state.wait { !$0.inputs.isEmpty }.inputs[0]
            #expect(input.body == #"{"up":1}"#)
            #expect(input.bag.contains("$.cmid=%24edgeHub"))
            #expect(input.bag.contains("rpSenderModuleId=probe"))
        }
    }

    @Test func `A message that is too large is refused and what came before it is kept`() async throws {
        try await fixture.serve { hub in
            let session = try await fixture.connect(probe, to: hub)
            try await session.send(["a"])
            await #expect(throws: HubError.self) {
                try await session.send([String(repeating: "x", count: DeviceEvent.maximumSize + 1)])
            }
            await fixture.upstream.state.wait { $0.received[probe] == ["a"] }
        }
    }
}
