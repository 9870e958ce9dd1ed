import Foundation
import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import Testing

@testable import Hub

/// The vectors of `Vectors/query` through REST, on one fleet in one file.
@Suite struct QueryVectorTests {
    @Test func `Queries answer alike in one page and in pages of two`() async throws {
        try await ServiceBench.with { hub in
            try await Fleet.load(into: hub)
            for vector in try Fleet.vectors(of: "query") {
                for pageSize in [nil, 2] {
                    try await check(vector, pageSize: pageSize, on: hub)
                }
            }
        }
    }

    private func check(_ vector: JSONValue, pageSize: Int?, on hub: ServiceBench) async throws {
        let name = Comment(rawValue: "\(vector["id"]?.string ?? ""), page size \(pageSize ?? 100)")
        let expect = try #require(vector["expect"])
        var (rows, token): ([JSONValue], String?) = ([], nil)
        repeat {
            var headers: [(String, String)] = []
            if let pageSize { headers.append(("x-ms-max-item-count", "\(pageSize)")) }
            if let token { headers.append(("x-ms-continuation", token)) }
            let answer = try await hub.send(
                .POST, "/devices/query", ["query": .string(Fleet.text(vector["query"]))], headers: headers)
            if let error = expect["error"] {
                #expect(answer.status == error["status"]?.int, name)
                return
            }
            if vector["strength"]?.string == "either", answer.status / 100 == 4 { return }
            #expect(answer.status == 200, name)
            if let type = vector["itemType"]?.string {
                #expect(answer.headers.first(name: "x-ms-item-type") == type, name)
            }
            let page = answer.json.array ?? []
            if let pageSize { #expect(page.count <= pageSize, name) }
            rows += page
            token = answer.headers.first(name: "x-ms-continuation")
        } while token != nil
        if let ids = expect["ids"]?.array {
            #expect(rows.compactMap { $0["deviceId"]?.string }.sorted() == ids.compactMap(\.string).sorted(), name)
        }
        if let ids = expect["moduleIds"]?.array {
            #expect(
                Set(rows.map { Fleet.pair($0["deviceId"], $0["moduleId"]) })
                    == Set(ids.map { Fleet.pair($0[0], $0[1]) }), name)
        }
        if let count = expect["count"]?.int { #expect(rows.count == count, name) }
        if let expected = expect["rows"]?.array {
            #expect(rows.count == expected.count && Set(rows) == Set(expected), "\(name) \(rows)")
        }
    }

    @Test func `Target conditions choose the twins that the vectors name`() async throws {
        try await ServiceBench.with { hub in
            try await Fleet.load(into: hub)
            for (number, vector) in try Fleet.vectors(of: "target").enumerated() {
                try await checkTarget(vector, id: "t\(number)", on: hub)
            }
        }
    }

    private func checkTarget(_ vector: JSONValue, id: String, on hub: ServiceBench) async throws {
        let name = Comment(rawValue: vector["id"]?.string ?? "")
        let expect = try #require(vector["expect"])
        let condition = vector["condition"] ?? ""
        let content: JSONValue =
            switch vector["scope"]?.string {
            case "edge": ["modulesContent": ["$edgeAgent": [:]]]
            case "module": ["moduleContent": ["properties.desired.\(id)": 1]]
            default: ["deviceContent": ["properties.desired.\(id)": 1]]
            }
        let made = try await hub.send(
            .PUT, "/configurations/\(id)",
            ["id": .string(id), "etag": "*", "content": content, "targetCondition": condition, "priority": 1])
        if let error = expect["error"] {
            #expect(made.status == error["status"]?.int, name)
            if let code = error["code"]?.string { #expect(made.error == code, name) }
            return
        }
        #expect(made.status == 200, name)
        #expect(made.json["etag"] == "MQ==", name)
        let query = made.json["systemMetrics"]?["queries"]?["targetedCount"]?.string ?? ""
        let selected: [JSONValue] =
            query.isEmpty ? [] : try await hub.send(.POST, "/devices/query", ["query": .string(query)]).json.array ?? []
        let targeted = made.json["systemMetrics"]?["results"]?["targetedCount"]?.int
        if let ids = expect["ids"]?.array {
            #expect(selected.compactMap { $0["deviceId"]?.string }.sorted() == ids.compactMap(\.string).sorted(), name)
            #expect(targeted == ids.count, name)
        }
        if let ids = expect["moduleIds"]?.array {
            #expect(
                Set(selected.map { Fleet.pair($0["deviceId"], $0["moduleId"]) })
                    == Set(ids.map { Fleet.pair($0[0], $0[1]) }), name)
            #expect(targeted == ids.count, name)
        }
        #expect(try await hub.send(.DELETE, "/configurations/\(id)").status == 204, name)
    }
}

enum Fleet {
    static func document(_ file: String) throws -> JSONValue {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Vectors/query/\(file)")
        return try JSONValue(parsing: Data(contentsOf: url))
    }

    static func vectors(of kind: String) throws -> [JSONValue] {
        try ["where.json", "select.json", "modules.json", "errors.json", "target.json"].flatMap {
            (try document($0)["vectors"]?.array ?? []).filter { $0["kind"]?.string == kind }
        }
    }

    static func text(_ query: JSONValue?) -> String {
        guard let template = query?["@@pad"]?.string, let length = query?["length"]?.int else {
            return query?.string ?? ""
        }
        let fill = String(repeating: query?["fill"]?.string ?? "x", count: length - template.count + 2)
        return template.replacingOccurrences(of: "{}", with: fill)
    }

    static func pair(_ device: JSONValue?, _ module: JSONValue?) -> String {
        "\(device?.string ?? "")/\(module?.string ?? "")"
    }

    /// Puts the rows into the store as they are, statuses and times included.
    static func load(into hub: ServiceBench) async throws {
        let fleet = try document("fleet.json")
        let records = try ((fleet["devices"]?.array ?? []) + (fleet["modules"]?.array ?? [])).map(record)
        let statuses = records.map { WriteTransaction.statuses($0.twin.configurations) }
        try await hub.registry.database.write { transaction in
            for (record, own) in zip(records, statuses) {
                var record = record
                record.twin.configurations = "{}"
                try transaction.insert(record)
                try transaction.setStatuses(own, of: record.identity.key, from: "{}")
            }
        }
        for record in records where record.identity.isConnected {
            hub.registry.activity.connected(record.identity.key, at: record.identity.lastActivity)
        }
    }

    private static func record(_ row: JSONValue) throws -> IdentityRecord {
        let key = IdentityKey(device: row["deviceId"]?.string ?? "", module: row["moduleId"]?.string)
        func section(_ name: String) -> TwinSection {
            var properties = row["properties"]?[name]?.object ?? [:]
            let version = properties["$version"]?.int ?? 1
            properties["$version"] = nil
            return TwinSection(
                properties: properties, version: version, stamp: TwinStamp(time: .never, version: version))
        }
        let twin = TwinDocument(
            tags: row["tags"]?.object ?? [:], desired: section("desired"), reported: section("reported"), version: 2,
            tagCounter: 1)
        let identity = Identity(
            key: key, generationID: "1", tagCounter: 1, isEnabled: row["status"]?.string != "disabled",
            statusReason: row["statusReason"]?.string,
            authentication: IdentityAuthentication(kind: .sas), isEdge: row["capabilities"]?["iotEdge"]?.bool ?? false,
            deviceScope: row["deviceScope"]?.string,
            parentScopes: (row["parentScopes"]?.array ?? []).compactMap(\.string),
            lastActivity: row["lastActivityTime"]?.string.flatMap { Timestamp(parsing: $0) } ?? .never,
            isConnected: row["connectionState"]?.string == "Connected")
        return IdentityRecord(
            identity: identity, twin: TwinTexts(twin, configurations: (row["configurations"] ?? [:]).text()))
    }
}
