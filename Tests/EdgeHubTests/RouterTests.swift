import EdgeStore
import FoundationEssentials
import HubProtocol
import JSONDocument
import Model
import NIOCore
import Testing

@testable import EdgeHub

@Suite struct RouterTests {
    private static func vectors() throws -> JSONValue {
        let path = #filePath.split(separator: "/").dropLast().joined(separator: "/")
        let data = try Data(contentsOf: URL(filePath: "/\(path)/Vectors/routing.json"))
        return try JSONValue(parsing: Array(data))
    }

    /// The message of a vector, as a module or leaf device with that source would send it.
    private func message(_ description: JSONValue?, source: String) -> RoutedMessage {
        var properties = MessageProperties()
        for (name, value) in description?["properties"]?.object ?? [:] { properties.set(name, to: value.string) }
        let names: [String: SystemProperty] = [
            "contentType": .contentType, "contentEncoding": .contentEncoding, "messageId": .messageID,
        ]
        for (name, value) in description?["systemProperties"]?.object ?? [:] {
            if let property = names[name] { properties.system[property] = value.string }
        }
        let parts = source.split(separator: "/")
        if parts.count == 5 { properties.system[.outputName] = String(parts[4]) }
        let body =
            description?["body"].map { ByteBuffer(bytes: $0.bytes()) }
            ?? ByteBuffer(string: description?["body_text"]?.string ?? "")
        let event = DeviceEvent(propertyBag: properties.bag(), body: body)
        if source == RoutedMessage.twinChangeSource {
            return RoutedMessage(event, from: ownIdentity, reportedBy: probe)
        }
        let sender = parts.count > 2 ? IdentityKey(device: "edge-01", module: String(parts[2])) : leaf
        return RoutedMessage(event, from: sender)
    }

    @Test func `Each table of routes names the endpoints, priorities and times of the vectors`() throws {
        let vectors = try Self.vectors()
        let tables = vectors["table"]?.array ?? []
        #expect(!tables.isEmpty)
        for table in tables {
            let desired: JSONObject = ["schemaVersion": "1.1", "routes": table["routes"] ?? [:]]
            let router = Router(try RoutingConfiguration(desired: desired), deviceID: "edge-01")
            let source = table["messageSource"]?.string ?? ""
            let description = table["message"]?.string.flatMap { vectors["messages"]?[$0] }
            let routed = message(description, source: source)
            #expect(routed.source == source, "\(table["id"]?.string ?? "")")
            let found = router.destinations(for: routed).map { destination -> JSONValue in
                let name: String =
                    switch destination.queue {
                    case .upstream: "$upstream"
                    case .input(let module, let input): "\(module.moduleID ?? "")/\(input)"
                    }
                let isLast = destination.priority == RoutingConfiguration.lastPriority
                return [
                    "to": .string(name), "priority": isLast ? .null : JSONValue(destination.priority),
                    "timeToLiveSecs": JSONValue(destination.timeToLive ?? 0),
                ]
            }
            let sorted = found.sorted { ($0["to"]?.string ?? "") < ($1["to"]?.string ?? "") }
            #expect(
                JSONValue(sorted) == table["expected"], "\(table["id"]?.string ?? ""): \(table["why"]?.string ?? "")")
        }
    }

    @Test func `A condition sees who really sent the message`() throws {
        let desired: JSONObject = [
            "schemaVersion": "1.0",
            "routes": ["a": "FROM /messages/* WHERE $connectionModuleId = 'probe' INTO $upstream"],
        ]
        let router = Router(try RoutingConfiguration(desired: desired), deviceID: "pi")
        let forged = DeviceEvent(propertyBag: ByteBuffer(string: "$.cmid=probe"), body: ByteBuffer())
        #expect(router.destinations(for: RoutedMessage(forged, from: lamp)).isEmpty)
        #expect(router.destinations(for: RoutedMessage(forged, from: probe)).count == 1)
    }

    @Test func `The forms of a configuration are read, and what is wrong is named`() throws {
        var desired: JSONObject = [
            "schemaVersion": "1.0",
            "routes": ["a": "FROM /* INTO $upstream", "b": ["route": "FROM /* INTO $upstream"], "c": "  "],
            "storeAndForwardConfiguration": ["timeToLiveSecs": -1],
        ]
        var read = try RoutingConfiguration(desired: desired)
        #expect(read.routes.map(\.name) == ["a"])
        #expect(read.problems.map(\.route) == ["b"])
        #expect(read.timeToLive == nil)
        desired["schemaVersion"] = "1.1"
        desired["routes"] = [
            "b": ["route": "FROM /* INTO $upstream", "priority": 3, "timeToLiveSecs": 60],
            "c": ["route": "FROM /* INTO $upstream", "priority": 10], "d": ["priority": 1], "e": 5,
        ]
        desired["storeAndForwardConfiguration"] = ["timeToLiveSecs": 7_200]
        read = try RoutingConfiguration(desired: desired)
        #expect(read.routes.map(\.priority) == [3])
        #expect(read.routes.map(\.timeToLive) == [60])
        #expect(read.problems.map(\.route) == ["c", "d", "e"])
        #expect(read.timeToLive == 7_200)
        for version: JSONValue in ["2.0", "1", "", 1] {
            desired["schemaVersion"] = version
            #expect(throws: RoutingConfiguration.Problem.self) { try RoutingConfiguration(desired: desired) }
        }
    }
}

@Suite struct TwinPatchTests {
    @Test func `Two patches joined do what they do one after the other`() throws {
        let base: JSONObject = ["a": ["x": 1, "y": 2], "b": 1, "c": ["d": ["e": 1]]]
        let steps: [JSONObject] = [
            ["a": .null], ["a": ["z": 1]], ["a": 5], ["a": ["x": .null]], ["b": ["n": ["m": 1]]], ["b": .null],
            ["c": ["d": 3]], ["c": ["d": ["f": 2]]], ["new": ["x": 1]], ["new": .null],
        ]
        for first in steps {
            for second in steps {
                let joined = TwinPatch.joined(first, then: second, base: base)
                let expected = TwinPatch.applied(second, to: TwinPatch.applied(first, to: base))
                #expect(TwinPatch.applied(joined, to: base) == expected, "\(first) \(second)")
            }
        }
    }
}
