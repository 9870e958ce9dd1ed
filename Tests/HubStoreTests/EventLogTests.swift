import FoundationEssentials
import HubProtocol
import NIOCore
import Synchronization
import Testing

@testable import HubStore

/// A folder of one test, removed with the value.
final class LogFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/event-log-\(UInt64.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var log: String { path + "/events" }

    var files: [String] {
        get throws {
            try FileManager.default.contentsOfDirectory(atPath: log).filter { $0.hasSuffix(".events") }.sorted()
                .map { "\(log)/\($0)" }
        }
    }
}

/// A clock that the test turns; microseconds.
final class HandClock: Sendable {
    private let time: Mutex<Int64>

    init(_ time: Int64 = 1_700_000_000_000_000) { self.time = Mutex(time) }

    func advance(_ duration: Int64) { time.withLock { $0 += duration } }

    var now: @Sendable () -> Int64 { { self.time.withLock { $0 } } }
}

func event(_ text: String, bag: String = "") -> DeviceEvent {
    DeviceEvent(propertyBag: ByteBuffer(string: bag), body: ByteBuffer(string: text))
}

func sender(_ device: String, _ module: String? = nil) -> EventSender {
    EventSender(
        deviceID: device, moduleID: module, generationID: "g-\(device)", authenticationMethod: "{\"scope\":\"device\"}")
}

/// What completions reported, in their order.
final class Reports<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])

    func add(_ value: Value) { values.withLock { $0.append(value) } }
    var all: [Value] { values.withLock { $0 } }
}

extension EventLog {
    func append(_ events: [DeviceEvent], from sender: EventSender) async throws {
        let result = await withCheckedContinuation { continuation in
            append(events, from: sender) { continuation.resume(returning: $0) }
        }
        try result.get()
    }

    /// Everything that is there, in the order of reading.
    func all(from start: EventStart = .beginning) async throws -> [StoredEvent] {
        let reader = reader(from: start)
        var events: [StoredEvent] = []
        while true {
            let blocks = try await reader.read()
            if blocks.isEmpty { return events }
            for block in blocks {
                try block.forEach {
                    events.append($0)
                    return true
                }
            }
        }
    }
}

extension EventReader {
    /// Follows the log until so many messages have come.
    func texts(_ count: Int) async throws -> [String] {
        var texts: [String] = []
        while texts.count < count {
            for block in try await next() {
                try block.forEach {
                    texts.append($0.text)
                    return true
                }
            }
        }
        return texts
    }
}

extension StoredEvent {
    var text: String { String(buffer: body) }
}

@Suite struct EventLogTests {
    private func open(
        _ folder: LogFolder, clock: HandClock = HandClock(), _ change: (inout EventLogOptions) -> Void = { _ in }
    ) throws -> EventLog {
        var options = EventLogOptions()
        change(&options)
        return try EventLog(folder: folder.log, options: options, now: clock.now)
    }

    @Test func `What was appended is read back with its sender's facts`() async throws {
        let folder = try LogFolder()
        let log = try open(folder)
        try await log.append([event("one", bag: "a=1"), event("two")], from: sender("d", "m"))
        try await log.append([event("three")], from: sender("d"))
        let events = try await log.all()
        #expect(events.map(\.text) == ["one", "two", "three"])
        #expect(events.map(\.sequenceNumber) == [0, 1, 2])
        #expect(events.map(\.sender.moduleID) == ["m", "m", nil])
        #expect(events[0].sender.generationID == "g-d")
        #expect(String(buffer: events[0].propertyBag) == "a=1")
        #expect(events[0].source == .telemetry)
        await log.close()
    }

    @Test func `A device and its modules lie in one partition, many devices in all of them`() async throws {
        let folder = try LogFolder()
        let log = try open(folder)
        #expect(log.partition(of: sender("d")) == log.partition(of: sender("d", "m")))
        #expect(Set((0..<100).map { log.partition(of: sender("d\($0)")) }) == [0, 1, 2, 3])
        await log.close()
    }

    @Test func `Sequence numbers go on after the log was opened again`() async throws {
        let folder = try LogFolder()
        for round in 0..<3 {
            let log = try open(folder)
            try await log.append([event("\(round)")], from: sender("d"))
            await log.close()
        }
        let log = try open(folder) { $0.partitions = 9 }
        #expect(log.partitionCount == 4)
        let events = try await log.all()
        #expect(events.map(\.text) == ["0", "1", "2"])
        #expect(events.map(\.sequenceNumber) == [0, 1, 2])
        await log.close()
    }

    @Test(arguments: [1, 10, 47, 48, 60, 100]) func `A tail that was cut anywhere is dropped, all before it stays`(
        cut: Int
    ) async throws {
        let folder = try LogFolder()
        var log = try open(folder)
        try await log.append([event("kept")], from: sender("d"))
        let kept = log.publishedState().end
        try await log.append([event(String(repeating: "x", count: 100))], from: sender("d"))
        await log.close()
        let path = try #require(try folder.files.last)
        let file = try EventFile(path, writable: true)
        try file.truncate(to: kept + cut)
        log = try open(folder)
        #expect(try await log.all().map(\.text) == ["kept"])
        try await log.append([event("new")], from: sender("d"))
        await log.close()
        log = try open(folder)
        let events = try await log.all()
        #expect(events.map(\.text) == ["kept", "new"])
        #expect(events.map(\.sequenceNumber) == [0, 1])
        await log.close()
    }

    @Test func `A block with one changed byte ends the log when it is opened`() async throws {
        let folder = try LogFolder()
        var log = try open(folder)
        try await log.append([event("kept")], from: sender("d"))
        let kept = log.publishedState().end
        try await log.append([event("spoiled")], from: sender("d"))
        let end = log.publishedState().end
        await log.close()
        let file = try EventFile(try #require(try folder.files.last), writable: true)
        for place in stride(from: kept, to: end, by: 7) {
            let byte = try #require(try file.read(1, at: place).getInteger(at: 0, as: UInt8.self))
            try [byte ^ 0x40].withUnsafeBytes { try file.write($0, at: place) }
            log = try open(folder)
            #expect(try await log.all().map(\.text) == ["kept"])
            await log.close()
            break
        }
    }

    @Test func `Numbers go on after retention has removed everything`() async throws {
        let folder = try LogFolder()
        let clock = HandClock()
        var log = try open(folder, clock: clock) { $0.retentionAge = .seconds(60) }
        try await log.append([event("old"), event("old")], from: sender("d"))
        await log.close()
        clock.advance(120_000_000)
        log = try open(folder, clock: clock) { $0.retentionAge = .seconds(60) }
        // The look at the age runs on the writer before this append.
        try await log.append([event("new")], from: sender("d"))
        let events = try await log.all()
        #expect(events.map(\.text) == ["new"])
        #expect(events.map(\.sequenceNumber) == [2])
        #expect(try folder.files.count == 1)
        let facts = log.facts()[log.partition(of: sender("d"))]
        #expect(facts.firstSequenceNumber == 2)
        #expect(facts.nextSequenceNumber == 3)
        await log.close()
    }

    @Test func `Old files go when there are more bytes than are to be kept`() async throws {
        let folder = try LogFolder()
        let log = try open(folder) {
            $0.segmentBytes = 4096
            $0.retentionBytes = 16384
        }
        for number in 0..<200 {
            try await log.append(
                [event("\(number) " + String(repeating: "x", count: 200))], from: sender("d"))
        }
        let events = try await log.all()
        #expect(events.last?.sequenceNumber == 199)
        #expect(try #require(events.first).sequenceNumber > 50)
        #expect(events.map(\.sequenceNumber) == Array(try #require(events.first).sequenceNumber...199))
        #expect(try folder.files.count <= 6)
        await log.close()
    }

    @Test func `Reports come in the order of the calls`() async throws {
        let folder = try LogFolder()
        let log = try open(folder)
        let reports = Reports<Int>()
        for number in 0..<200 {
            log.append([event("\(number)")], from: sender("d")) { _ in reports.add(number) }
        }
        try await log.append([event("end")], from: sender("d"))
        #expect(reports.all == Array(0..<200))
        await log.close()
    }

    @Test func `A reader follows, and sees each message once`() async throws {
        let folder = try LogFolder()
        let log = try open(folder) { $0.segmentBytes = 8192 }
        let reader = log.reader(from: .latest)
        async let read = reader.texts(300)
        for number in 0..<300 {
            try await log.append([event("\(number) " + String(repeating: "x", count: 64))], from: sender("d"))
        }
        let texts = try await read
        #expect(texts.map { Int($0.prefix { $0 != " " }) } == (0..<300).map { $0 })
        await log.close()
    }

    @Test func `Reading begins at a sequence number or at a time, across files`() async throws {
        let folder = try LogFolder()
        let clock = HandClock()
        let log = try open(folder, clock: clock) { $0.segmentBytes = 2048 }
        let start = clock.now()
        for number in 0..<100 {
            try await log.append([event("\(number)")], from: sender("d\(number % 5)"))
            clock.advance(1_000_000)
        }
        #expect(try folder.files.count > 3)
        let late = try await log.all(from: .time(start + 60_000_000))
        #expect(late.map(\.text) == (60..<100).map(String.init))
        let partition = log.partition(of: sender("d0"))
        let own = try await log.all().filter { $0.partition == partition }
        for first in 0..<own.count {
            let reader = log.reader(from: [partition: .sequence(Int64(first))])
            var texts: [String] = []
            for block in try await reader.read() {
                try block.forEach {
                    texts.append($0.text)
                    return true
                }
            }
            #expect(texts == own[first...].map(\.text))
        }
        #expect(try await log.all(from: .latest).isEmpty)
        await log.close()
    }

    @Test func `A clock that was set back does not make newer messages older`() async throws {
        let folder = try LogFolder()
        let clock = HandClock()
        let log = try open(folder, clock: clock)
        try await log.append([event("a")], from: sender("d"))
        clock.advance(-1_000_000_000)
        try await log.append([event("b")], from: sender("e"))
        let times = try await log.all().map(\.enqueuedTime)
        #expect(times == times.sorted())
        await log.close()
    }

    @Test func `More than may wait is refused, and the log goes on`() async throws {
        let folder = try LogFolder()
        let log = try open(folder) { $0.pendingLimit = 10_000 }
        let body = String(repeating: "x", count: 4000)
        let results = Reports<Bool>()
        for _ in 0..<200 {
            log.append([event(body)], from: sender("d")) { result in
                results.add((try? result.get()) != nil)
            }
        }
        try await log.append([], from: sender("d"))
        let taken = results.all.count { $0 }
        #expect(try await log.all().count == taken)
        await log.close()
    }

    @Test func `A waiting reader ends with its time, and with the log`() async throws {
        let folder = try LogFolder()
        let log = try open(folder)
        #expect(try await log.reader(from: .latest).next(timeout: .milliseconds(10)).isEmpty)
        let reader = log.reader(from: .latest)
        async let ended = reader.next()
        await log.close()
        #expect(try await ended.isEmpty)
        await #expect(throws: EventLogError.closed) { try await log.append([event("x")], from: sender("d")) }
    }

    @Test func `The checksum is XXH64`() {
        #expect(Checksum64.of("") == 0xEF46_DB37_51D8_E999)
        #expect(Checksum64.of("abc") == 0x44BC_2CF5_AD77_0999)
        #expect(Checksum64.of("Nobody inspects the spammish repetition") == 0xFBCE_A83C_8A37_8BF1)
    }
}
