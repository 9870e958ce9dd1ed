import DeviceGateway
import EdgeStore
import HubProtocol
import JSONDocument
import Model
import NIOCore
import Telemetry
import Testing

@testable import EdgeHub

/// What the edge hub tells of itself: reported properties, warnings, and metrics.
@Suite(.timeLimit(.minutes(5))) struct ReportingTests {
    let fixture = EdgeHubFixture()

    private func limits(_ limits: JSONValue) -> JSONObject {
        ["storeAndForwardConfiguration": ["timeToLiveSecs": 7_200, "storeLimits": limits]]
    }

    @Test func `The deployment's limits of the store are kept, and a full store is reported until it is not`()
        async throws
    {
        fixture.upstream.state.change { $0.refusesConnections = [probe] }
        try await fixture.serve { hub in
            _ = await fixture.route(["up": "FROM /* INTO $upstream"], extra: limits(["maxSizeBytes": 1_048_576]))
            let session = try await fixture.connect(probe, to: hub)
            for number in 0..<300 { try await session.send(["\(number)" + String(repeating: "x", count: 8_000)]) }
            #expect(await hub.messages.fill().usedBytes <= 1_048_576 + 65_536)
            let warned = await fixture.upstream.state.wait {
                $0.twins[ownIdentity]?.reported["warnings"]?["messageStore"] != nil
            }.twins[ownIdentity]?.reported["warnings"]?["messageStore"]?.string
            #expect(warned?.contains("oldest") == true)
            fixture.upstream.state.change { $0.refusesConnections = [] }
            await fixture.upstream.state.wait { $0.twins[ownIdentity]?.reported["warnings"] == nil }
            #expect(fixture.upstream.received(from: probe).last?.hasPrefix("299x") == true)
        }
    }

    @Test func `With the policy to refuse, senders are told and nothing that was taken is lost`() async throws {
        fixture.upstream.state.change { $0.refusesConnections = [probe] }
        try await fixture.serve { hub in
            _ = await fixture.route(
                ["up": "FROM /* INTO $upstream"], extra: limits(["maxSizeBytes": 600_000, "whenFull": "refuse"]))
            let session = try await fixture.connect(probe, to: hub)
            var taken = 0
            var refusal: HubError?
            while taken < 300, refusal == nil {
                do throws(any Error) {
                    try await session.send(["\(taken)" + String(repeating: "x", count: 8_000)])
                    taken += 1
                } catch {
                    refusal = error as? HubError
                }
            }
            #expect(refusal?.code == .deviceMaximumQueueDepthExceeded)
            #expect(taken > 10)
            let stored = taken
            fixture.upstream.state.change { $0.refusesConnections = [] }
            await fixture.upstream.state.wait { $0.received[probe]?.count == stored }
        }
    }

    @Test func `Limits that mean nothing are reported and the routes stay in force`() async throws {
        try await fixture.serve { _ in
            let twin = await fixture.route(
                ["up": "FROM /* INTO $upstream"], extra: limits(["maxSizeBytes": -1, "whenFull": "explode"]))
            let status = twin?.reported["lastDesiredStatus"]
            #expect(status?["code"]?.int == 400)
            #expect(status?["description"]?.string?.contains("maxSizeBytes") == true)
            #expect(status?["description"]?.string?.contains("whenFull") == true)
        }
    }

    @Test func `However many clients there are, the report stays below the limit of a twin`() {
        let clock = StoreClock(wall: { 1_800_000_000_000 }, monotonic: { 0 })
        let reporter = HubReporter(clock: clock)
        for number in 0..<2_000 {
            let long = String(repeating: "a", count: 60)
            reporter.connected(IdentityKey(device: "pi", module: "\(long)\(number)"))
            if number % 2 == 0 { reporter.disconnected(IdentityKey(device: "pi", module: "\(long)\(number)")) }
        }
        reporter.applied(version: 3, code: 400, description: String(repeating: "é", count: 10_000))
        let document = reporter.document()
        #expect((document["clients"]?.object?.count ?? 0) > 50)
        #expect(JSONValue.object(document).text().utf8.count < 32 * 1_024)
    }

    @Test func `Metrics carry the names and labels that dashboards of the replaced system ask for`() async throws {
        let registry = MetricsRegistry(commonLabels: [("iothub", "hub.example"), ("edge_device", "pi")])
        try await fixture.serve(metrics: registry) { hub in
            _ = await fixture.route([
                "in": [
                    "route":
                        "FROM /messages/modules/probe/outputs/out INTO BrokeredEndpoint(\"/modules/lamp/inputs/on\")",
                    "priority": 2,
                ], "up": "FROM /messages/modules/probe/outputs/out INTO $upstream",
            ])
            let receiver = try await fixture.connect(lamp, to: hub, listeningTo: [.inputs])
            let sender = try await fixture.connect(probe, to: hub)
            try await sender.send(["1", "2"], output: "out")
            try await sender.send(["3"], output: "nowhere")
            await receiver.state.wait { $0.inputs.count == 2 }
            await fixture.upstream.state.wait { $0.received[probe]?.count == 2 }
            _ = try await hub.twin(of: sender.identity)
            _ = try await hub.report(.init(string: #"{"a":1}"#), expectedVersion: nil, from: sender.identity)
            hub.closed(sender)
            let text = registry.prometheusText()
            let common = #"iothub="hub.example",edge_device="pi","#
            for line in [
                #"edgehub_messages_received_total{\#(common)route_output="out",id="pi/probe"} 2"#,
                #"edgehub_messages_received_total{\#(common)route_output="nowhere",id="pi/probe"} 1"#,
                #"edgehub_messages_sent_total{\#(common)from="pi/probe",to="pi/lamp",from_route_output="out",to_route_input="on",priority="2"} 2"#,
                #"edgehub_messages_sent_total{\#(common)from="pi/probe",to="upstream",from_route_output="out",to_route_input="",priority="2000000000"} 2"#,
                #"edgehub_messages_dropped_total{\#(common)reason="no_route",from="pi/probe",from_route_output="nowhere"} 1"#,
                #"edgehub_gettwin_total{\#(common)source="upstream",id="pi/probe"} 1"#,
                #"edgehub_reported_properties_total{\#(common)target="upstream",id="pi/probe"} 1"#,
                #"edgehub_client_connect_success_total{\#(common)id="pi/lamp"} 1"#,
                #"edgehub_client_disconnect_total{\#(common)id="pi/probe"} 1"#,
                "edgehub_message_size_bytes{\(common)id=\"pi/probe\",quantile=\"0.999\"}",
                "edgehub_message_send_duration_seconds{\(common)from=\"pi/probe\",to=\"pi/lamp\"",
            ] {
                #expect(text.contains(line), "\(line)\n\(text)")
            }
        }
    }
}
