import AsyncHTTPClient
import DeviceClient
import Foundation
import HubProtocol
import JSONDocument
import Logging
import Model
import NIOCore
import NIOHTTP1
import ServiceClient
import Synchronization
import Testing

/// The hub is killed at moments of chance while devices send and services write, and nothing that it said it had taken may
/// be missing afterwards. `HEDGEROW_KILLS` says how often; `make torture` takes some hundreds.
@Suite struct DurabilityTests {
    private static let kills = ProcessInfo.processInfo.environment["HEDGEROW_KILLS"].flatMap { Int($0) } ?? 8
    private static let devices = ["d0", "d1", "d2", "d3"]

    /// Where the tasks of the load write down what was acknowledged.
    private final class Ledger: Sendable {
        private let kept = Mutex(Promises())
        private let (changes, changed) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

        var promises: Promises { kept.withLock { $0 } }

        func note(_ change: (inout Promises) -> Void) {
            kept.withLock { change(&$0) }
            changed.yield()
        }

        /// Returns when every device has had a message acknowledged. The test's time limit bounds the wait.
        func waitForMessages(of devices: [String]) async {
            for await _ in changes where devices.allSatisfy({ promises.messages[$0]?.isEmpty == false }) { return }
        }
    }

    /// What the hub has acknowledged so far.
    private struct Promises {
        /// The numbers of a device's messages, by device.
        var messages: [String: Set<Int>] = [:]
        /// The highest number that was written into the desired properties, and reported.
        var desired = 0
        var reported = 0
        var identities = 0
        var configurations = 0
    }

    @Test(.timeLimit(.minutes(60)))
    func `Whatever was acknowledged is there after each kill, and numbers of messages never repeat or go back`()
        async throws
    {
        let folder = try TemporaryFolder()
        let hub = try await RunningHub(in: folder.path)
        let ledger = Ledger()
        let service = try hub.service()
        for device in Self.devices { try await hub.command("device", "create", device) }

        let load = try await Load(hub: hub, service: service, devices: Self.devices)
        let work = Task {
            await withDiscardingTaskGroup { group in
                for client in load.clients {
                    group.addTask { await client.run() }
                    group.addTask { await Self.send(client, ledger) }
                }
                group.addTask { await Self.report(load.clients[0], ledger) }
                group.addTask { await Self.write(service, ledger) }
            }
        }
        var seen = Seen()
        do {
            for round in 1...Self.kills {
                // The moment of the kill is left to chance: in the middle of whatever the hub does.
                try await Task.sleep(for: .milliseconds(Int.random(in: 20...400)))
                hub.program.kill()
                let known = ledger.promises
                try await hub.startAgain()
                if round % 50 == 0 || round == Self.kills { try await check(hub, service, known, &seen) }
            }
        } catch {
            work.cancel()
            throw error
        }
        // On a busy machine the kills may have come faster than a device can connect.
        await ledger.waitForMessages(of: Self.devices)
        work.cancel()
        await work.value
        try await check(hub, service, ledger.promises, &seen)
        await service.shutdown()
        #expect(hub.program.stop() == 0)
    }

    // MARK: Load

    private struct Load {
        let clients: [DeviceClient]

        init(hub: RunningHub, service: ServiceClient, devices: [String]) async throws {
            var logger = Logger(label: "durability") { _ in SwiftLogNoOpLogHandler() }
            logger.logLevel = .critical
            let tls = try ClientTLS(
                trustRootsPEM: String(contentsOfFile: hub.rootFile, encoding: .utf8), serverName: RunningHub.hostName)
            var clients: [DeviceClient] = []
            for device in devices {
                let identity = try await service.call(.GET, ["devices", device]).body
                let key = try #require(identity.at(["authentication", "symmetricKey", "primaryKey"])?.string)
                let name = IdentityKey(device: device)
                clients.append(
                    DeviceClient(
                        DeviceClientConfiguration(
                            identity: name, hubHostName: RunningHub.hostName, host: "127.0.0.1",
                            port: hub.ports["mqtt"] ?? 0, tls: tls,
                            credential: DeviceClientConfiguration.token(
                                hubHostName: RunningHub.hostName, identity: name, key: key),
                            backOff: BackOff(first: .milliseconds(20), longest: .milliseconds(100))),
                        logger: logger))
            }
            self.clients = clients
        }
    }

    private static func send(_ client: DeviceClient, _ ledger: Ledger) async {
        let device = client.configuration.identity.deviceID
        var next = 0
        while !Task.isCancelled {
            let numbers = next..<next + 4
            next += 4
            let events = numbers.map { DeviceEvent(body: ByteBuffer(string: "\($0)")) }
            guard (try? await client.send(events)) != nil else { continue }
            ledger.note { $0.messages[device, default: []].formUnion(numbers) }
        }
    }

    private static func report(_ client: DeviceClient, _ ledger: Ledger) async {
        var number = 0
        while !Task.isCancelled {
            number += 1
            guard (try? await client.report(["n": .number(JSONNumber(number))])) != nil else { continue }
            let taken = number
            ledger.note { $0.reported = taken }
        }
    }

    /// Twins, identities and configurations in turn; what fails is tried again, and was perhaps done already.
    private static func write(_ service: ServiceClient, _ ledger: Ledger) async {
        var number = 0
        while !Task.isCancelled {
            number += 1
            let value = JSONValue.number(JSONNumber(number))
            let patch: JSONValue = ["properties": ["desired": ["n": value]], "tags": ["n": value]]
            if await done({ _ = try await service.call(.PATCH, ["twins", "d1"], body: patch) }) {
                let taken = number
                ledger.note { $0.desired = taken }
            }
            let identity = "i\(number)"
            if await done({
                _ = try await service.call(
                    .PUT, ["devices", identity], body: ["deviceId": .string(identity), "status": "enabled"])
            }) {
                let taken = number
                ledger.note { $0.identities = taken }
            }
            // A hub holds as many configurations as it allows; each is written anew.
            let configuration = "c\(number % 8)"
            if await done({
                _ = try? await service.call(.DELETE, ["configurations", configuration], headers: ["if-match": "\"*\""])
                _ = try await service.call(
                    .PUT, ["configurations", configuration],
                    body: [
                        "id": .string(configuration), "priority": 1, "targetCondition": "tags.n=0",
                        "labels": ["n": .string("\(number)")],
                        "content": ["deviceContent": ["properties.desired.c": 1]],
                    ])
            }) {
                let taken = number
                ledger.note { $0.configurations = taken }
            }
        }
    }

    /// Repeats until it is done, or what was asked for is there already.
    private static func done(_ body: () async throws -> Void) async -> Bool {
        while !Task.isCancelled {
            do {
                try await body()
                return true
            } catch let error as ServiceClientError where error.status == 409 {
                return true
            } catch {
                // The hub is away; it comes back at once.
                await Task.yield()
            }
        }
        return false
    }

    // MARK: What has to be there

    /// What earlier readings showed, for comparison with later ones.
    private struct Seen {
        /// A hash of sender, body and offset of each message, by partition and sequence number.
        var messages: [Int: [Int: Int]] = [:]
    }

    private func check(
        _ hub: RunningHub, _ service: ServiceClient, _ known: Promises, _ seen: inout Seen
    ) async throws {
        var found: [String: Set<Int>] = [:]
        var last: [Int: Int] = [:]
        var now: [Int: [Int: Int]] = [:]
        let body = try await service.stream(["events"], query: [("from", "beginning"), ("follow", "false")])
        var rest: [UInt8] = []
        for try await chunk in body {
            rest.append(contentsOf: chunk.readableBytesView)
            var lines = rest.split(separator: 0x0A, omittingEmptySubsequences: false)
            rest = Array(lines.removeLast())
            for line in lines {
                let event = try JSONValue(parsing: String(decoding: line, as: UTF8.self))
                let partition = try #require(event["partition"]?.string.flatMap { Int($0) })
                let sequence = try #require(event["sequenceNumber"]?.int)
                if let before = last[partition] {
                    #expect(sequence > before, "partition \(partition): \(sequence) after \(before)")
                }
                last[partition] = sequence
                let device = event["deviceId"]?.string ?? ""
                let text = event["body"]?.string ?? event["body"]?.text() ?? ""
                now[partition, default: [:]][sequence] =
                    "\(device) \(text) \(event["offset"]?.string ?? "")".hashValue
                if let number = Int(text) { found[device, default: []].insert(number) }
            }
        }
        for (device, numbers) in known.messages {
            let missing = numbers.subtracting(found[device] ?? [])
            #expect(missing.isEmpty, "\(device): \(missing.count) are missing, \(missing.sorted().prefix(5))")
        }
        for (partition, messages) in seen.messages {
            let changed = messages.filter { now[partition]?[$0.key] != $0.value }
            #expect(changed.isEmpty, "partition \(partition): \(changed.count) messages are other ones than before")
        }
        seen.messages = now

        let twin = try await service.call(.GET, ["twins", "d1"]).body
        #expect(twin.at(["properties", "desired", "n"])?.int ?? 0 >= known.desired)
        #expect(twin.at(["tags", "n"])?.int ?? 0 >= known.desired)
        let reported = try await service.call(.GET, ["twins", "d0"]).body
        #expect(reported.at(["properties", "reported", "n"])?.int ?? 0 >= known.reported)
        let rows = try await service.query("SELECT deviceId FROM devices")
        let names = Set(rows.compactMap { $0["deviceId"]?.string })
        for number in stride(from: 1, through: known.identities, by: 1) {
            #expect(names.contains("i\(number)"), "the identity i\(number) is missing")
        }
        if known.configurations > 0 {
            let id = "c\(known.configurations % 8)"
            let label = try? await service.call(.GET, ["configurations", id]).body.at(["labels", "n"])?.string
            // A newer one may be on its way in its place: deleted already, or written and not yet acknowledged.
            if let number = label.flatMap({ Int($0) }) { #expect(number >= known.configurations) }
        }
    }
}
