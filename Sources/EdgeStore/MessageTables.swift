import HubProtocol
import Model
import NIOCore
import SQLite

/// The tables of the messages: one copy of each, and one small row per queue in which it waits.
///
/// Not safe to share; `MessageStore` uses it on its writer queue only.
struct MessageTables {
    let database: SQLiteDatabase
    private let clock: StoreClock
    private let statements: MessageStatements
    let pageSize: Int
    /// Bytes of the file, beyond which the oldest of the lowest priority give way.
    private(set) var quota: Int
    var nextSequence: Int64
    var names: NameTable
    /// How many messages wait in each queue and priority.
    var waiting: [Level: Int] = [:]
    /// Where a later message may expire before an earlier one; known to be orderly are the others.
    var isDisorderly: Set<Level> = []
    private var lastExpiry: [Level: Int64] = [:]
    private let ageBase: Int64
    private let monotonicBase: Int64
    private var agePersisted: Int64

    struct Level: Hashable {
        let queue: Int64
        let priority: Int
    }

    init(path: String, quota: Int, clock: StoreClock, onDamage: @Sendable (String) -> Void) throws(EdgeStoreError) {
        let database = try StoreFile.open(
            path, onDamage: onDamage, prepare: Self.prepare, rescue: MessageSalvage.copy(from:to:))
        try self.init(database, quota: quota, clock: clock)
    }

    /// Begins anew with what can be read of a damaged file, whose connection must be closed.
    init(
        replacing path: String, reason: String, quota: Int, clock: StoreClock, onDamage: @Sendable (String) -> Void
    ) throws(EdgeStoreError) {
        let database = try StoreFile.replace(
            path, reason: reason, onDamage: onDamage, prepare: Self.prepare, rescue: MessageSalvage.copy(from:to:))
        try self.init(database, quota: quota, clock: clock)
    }

    private init(_ database: SQLiteDatabase, quota: Int, clock: StoreClock) throws(EdgeStoreError) {
        self.database = database
        self.clock = clock
        self.quota = quota
        do {
            pageSize = try Self.pragma(database, "page_size")
            let last = try database.first("SELECT max(sequence) FROM messages") { $0.int64(0) } ?? 0
            nextSequence = last + 1
            let age = try database.first("SELECT value FROM facts WHERE name = 'age'") { $0.int64(0) } ?? 0
            let wall = try database.first("SELECT value FROM facts WHERE name = 'wall'") { $0.int64(0) }
            ageBase = age + max(0, clock.wall() - (wall ?? clock.wall()))
            agePersisted = age
            monotonicBase = clock.monotonic()
            names = try NameTable(database)
            statements = try MessageStatements(database)
            let levels = try database.rows("SELECT queue, priority, count(*) FROM waiting GROUP BY queue, priority") {
                (Level(queue: $0.int64(0), priority: $0.int(1)), $0.int(2))
            }
            waiting = Dictionary(uniqueKeysWithValues: levels)
            isDisorderly = Set(waiting.keys)
            try setQuota(quota)
        } catch {
            throw Self.failure(error)
        }
    }

    private static func prepare(_ database: SQLiteDatabase) throws {
        guard try pragma(database, "user_version") == 0 else { return }
        try database.execute("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")
        try database.execute(
            """
            BEGIN;
            CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
            CREATE TABLE messages (
                sequence INTEGER PRIMARY KEY, copies INTEGER NOT NULL, source INTEGER NOT NULL,
                properties BLOB NOT NULL, body BLOB NOT NULL);
            CREATE TABLE waiting (
                queue INTEGER NOT NULL, priority INTEGER NOT NULL, sequence INTEGER NOT NULL,
                expires INTEGER NOT NULL, PRIMARY KEY (queue, priority, sequence)) WITHOUT ROWID;
            CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
            PRAGMA user_version = 1;
            COMMIT
            """)
    }

    static func pragma(_ database: SQLiteDatabase, _ name: String) throws -> Int {
        try database.first("PRAGMA \(name)") { $0.int(0) } ?? 0
    }

    static func failure(_ error: any Error) -> EdgeStoreError {
        if let error = error as? EdgeStoreError { return error }
        guard let error = error as? SQLiteError else { return .disk("\(error)") }
        if error.isFull { return .diskFull }
        return error.isCorrupt ? .damaged(error.message) : .disk(error.description)
    }

    /// The quota is kept by giving way in time; a limit of pages is the wall behind it.
    mutating func setQuota(_ bytes: Int) throws {
        quota = bytes
        try database.execute("PRAGMA max_page_count = \(min(bytes / pageSize + 2_048, Int(Int32.max)))")
    }

    /// Milliseconds for which this store has existed, the time off included as far as the wall clock tells.
    var age: Int64 { ageBase + max(0, clock.monotonic() - monotonicBase) }

    /// The queues in which something may wait.
    func queues() -> Set<QueueName> {
        Set(waiting.filter { $0.value > 0 }.keys.compactMap { names.queue($0.queue) })
    }

    /// How many messages wait in each queue and priority.
    func depths() -> [(queue: QueueName, priority: Int, count: Int)] {
        waiting.compactMap { level, count in names.queue(level.queue).map { ($0, level.priority, count) } }
    }

    func count(in queue: QueueName) -> Int {
        guard let id = names.id(of: queue) else { return 0 }
        return waiting.reduce(0) { $1.key.queue == id ? $0 + $1.value : $0 }
    }

    // MARK: Writing

    /// Commits removals and batches of messages together.
    ///
    /// - Returns: for each batch the sequence of its first message, the others following without a gap; or why the
    ///   quota refused it.
    /// - Throws: when nothing was written.
    mutating func commit(
        removals: [MessageStore.Removal], batches: [[NewMessage]], overflow: MessageStore.Overflow,
        losses: inout [MessageLoss]
    ) throws(EdgeStoreError) -> [Result<Int64, EdgeStoreError>] {
        // Senders whose messages match no route still wait for their turn.
        if removals.isEmpty, batches.allSatisfy(\.isEmpty) { return batches.map { _ in .success(nextSequence) } }
        let before = self
        do {
            try database.execute("BEGIN IMMEDIATE")
            try remove(removals)
            let needed = batches.reduce(0) { $0 + room(for: $1) }
            let isTight = try needed > 0 && usedBytes() + needed > quota
            let now = age
            var results: [Result<Int64, EdgeStoreError>] = []
            results.reserveCapacity(batches.count)
            for batch in batches {
                if isTight, try !makeRoom(for: batch, overflow, &losses) {
                    results.append(.failure(.full(quota: quota)))
                    continue
                }
                results.append(.success(nextSequence))
                for message in batch { try insert(message, now: now) }
            }
            // The estimate of what a batch takes may be short of the pages that it did take.
            if isTight, overflow == .dropOldest { _ = try makeRoom(for: [], overflow, &losses) }
            try persistAge(now)
            try database.execute("COMMIT")
            return results
        } catch {
            try? database.execute("ROLLBACK")
            self = before
            losses.removeAll()
            throw Self.failure(error)
        }
    }

    private mutating func insert(_ message: NewMessage, now: Int64) throws {
        let source = try names.makeID(of: message.source, in: database)
        let sequence = nextSequence
        nextSequence += 1
        try statements.insertMessage(
            sequence, copies: message.destinations.count, source: source, message.event)
        for destination in message.destinations {
            let level = Level(
                queue: try names.makeID(of: destination.queue, in: database), priority: destination.priority)
            let expires = destination.timeToLive.map { now + Int64($0) * 1_000 } ?? .max
            try statements.insertPlace(level, sequence, expires: expires)
            waiting[level, default: 0] += 1
            if expires < lastExpiry[level] ?? .min { isDisorderly.insert(level) }
            lastExpiry[level] = expires
        }
    }

    /// Removes deliveries; those that follow each other without a gap, as they mostly do, at one stroke.
    private mutating func remove(_ removals: [MessageStore.Removal]) throws {
        var start = 0
        while start < removals.count {
            let first = removals[start]
            var end = start + 1
            while end < removals.count, removals[end].queue == first.queue, removals[end].priority == first.priority,
                removals[end].copies == 1, first.copies == 1,
                removals[end].sequence == removals[end - 1].sequence + 1
            {
                end += 1
            }
            if let queue = names.id(of: first.queue) {
                let level = Level(queue: queue, priority: first.priority)
                if end - start > 1 {
                    let gone = try statements.deleteRun(level, first.sequence...removals[end - 1].sequence)
                    count(level, -gone)
                } else {
                    try remove(level, sequence: first.sequence, copies: first.copies)
                }
            }
            start = end
        }
    }

    mutating func remove(_ level: Level, sequence: Int64, copies: Int) throws {
        // Removed before: the message may go on waiting elsewhere.
        guard try statements.deletePlace(level, sequence) else { return }
        count(level, -1)
        try statements.deleteCopy(sequence, copies: copies)
    }

    private mutating func count(_ level: Level, _ change: Int) {
        let left = (waiting[level] ?? 0) + change
        waiting[level] = max(0, left)
        if left <= 0 {
            isDisorderly.remove(level)
            lastExpiry[level] = nil
        }
    }

    /// Remembers how old the store is, once a minute at most: often enough for a time to live, seldom enough for a card.
    private mutating func persistAge(_ now: Int64, always: Bool = false) throws {
        guard always || now - agePersisted >= 60_000 || agePersisted == 0 else { return }
        try database.run("INSERT OR REPLACE INTO facts VALUES ('age', ?)", .integer(now))
        try database.run("INSERT OR REPLACE INTO facts VALUES ('wall', ?)", .integer(clock.wall()))
        agePersisted = now
    }

    mutating func persistAgeAtEnd() {
        try? persistAge(age, always: true)
    }

    // MARK: Reading

    /// What waits in a queue behind the given places, the most urgent first; what has expired is passed over.
    func read(
        _ queue: QueueName, after places: [Int: Int64], limit: Int, byteLimit: Int
    ) throws(EdgeStoreError) -> [StoredMessage] {
        guard let id = names.id(of: queue) else { return [] }
        let now = age
        var found: [StoredMessage] = []
        var bytes = 0
        do {
            let levels = waiting.filter { $0.key.queue == id && $0.value > 0 }.map(\.key.priority).sorted()
            for priority in levels {
                guard found.count < limit, bytes < byteLimit else { break }
                let rows = try database.statement(
                    """
                    SELECT w.sequence, m.copies, m.source, m.properties, m.body
                    FROM waiting w JOIN messages m ON m.sequence = w.sequence
                    WHERE w.queue = ? AND w.priority = ? AND w.sequence > ? AND w.expires > ? ORDER BY w.sequence
                    """)
                defer { rows.reset() }
                try rows.bind([
                    .integer(id), .int(priority), .integer(places[priority] ?? 0), .integer(now),
                ])
                while found.count < limit, bytes < byteLimit, try rows.step() {
                    guard let message = message(SQLiteRow(statement: rows), priority: priority) else { continue }
                    bytes += message.size
                    found.append(message)
                }
            }
            return found
        } catch {
            throw Self.failure(error)
        }
    }

    private func message(_ row: borrowing SQLiteRow, priority: Int) -> StoredMessage? {
        guard let source = names.source(row.int64(2)) else { return nil }
        let event = DeviceEvent(
            propertyBag: row.withBlob(3) { ByteBuffer(bytes: $0) }, body: row.withBlob(4) { ByteBuffer(bytes: $0) })
        return StoredMessage(
            sequence: row.int64(0), priority: priority, source: source, event: event, copies: row.int(1))
    }

    // MARK: Upkeep

    /// Gives pages back to the disk, some at a time, when a long outage has left most of them empty.
    ///
    /// - Returns: whether there may be more to give back.
    func giveBackSpace() -> Bool {
        guard let free = try? Self.pragma(database, "freelist_count"),
            let pages = try? Self.pragma(database, "page_count"),
            free * pageSize > 8 << 20, free > pages / 4 * 3
        else { return false }
        return (try? database.execute("PRAGMA incremental_vacuum(512)")) != nil
    }

    /// Moves the log into the file and cuts it to nothing: what it occupied is free for the next commits.
    func emptyLog() {
        try? database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    }
}
