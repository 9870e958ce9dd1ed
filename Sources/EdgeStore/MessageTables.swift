import HubProtocol
import Model
import NIOCore
import SQLite

/// The tables of the messages: one copy of each, and one small row per queue in which it waits.
///
/// Not safe to share; `MessageStore` uses it on its writer queue only.
struct MessageTables {
    private let database: SQLiteDatabase
    private let clock: StoreClock
    private let quota: Int
    private let pageSize: Int
    private var nextSequence: Int64
    private var idOfName: [String: Int64] = [:]
    private var nameOfID: [Int64: String] = [:]
    /// The queues and priorities in which something may wait; kept, because there are few.
    private var levels: Set<Level> = []
    private let ageBase: Int64
    private let monotonicBase: Int64
    private var agePersisted: Int64

    struct Level: Hashable {
        let queue: Int64
        let priority: Int
    }

    init(path: String, quota: Int, clock: StoreClock, onDamage: @Sendable (String) -> Void) throws(EdgeStoreError) {
        let database = try StoreFile.open(path, onDamage: onDamage, prepare: Self.prepare)
        self.database = database
        self.clock = clock
        self.quota = quota
        do {
            pageSize = try Self.pragma(database, "page_size")
            let last = try database.first("SELECT max(sequence) FROM messages") { $0.int64(0) } ?? 0
            nextSequence = last + 1
            // The quota is kept by giving way in time; this is the wall behind it.
            try database.execute("PRAGMA max_page_count = \(quota / pageSize + 2_048)")
            let age = try database.first("SELECT value FROM facts WHERE name = 'age'") { $0.int64(0) } ?? 0
            let wall = try database.first("SELECT value FROM facts WHERE name = 'wall'") { $0.int64(0) }
            ageBase = age + max(0, clock.wall() - (wall ?? clock.wall()))
            agePersisted = age
            monotonicBase = clock.monotonic()
            try loadNames()
            try loadLevels()
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

    private static func pragma(_ database: SQLiteDatabase, _ name: String) throws -> Int {
        try database.first("PRAGMA \(name)") { $0.int(0) } ?? 0
    }

    static func failure(_ error: any Error) -> EdgeStoreError {
        if let error = error as? EdgeStoreError { return error }
        return .disk((error as? SQLiteError)?.description ?? "\(error)")
    }

    private mutating func loadNames() throws {
        for (id, name) in try database.rows("SELECT id, name FROM names", make: { ($0.int64(0), $0.text(1)) }) {
            idOfName[name] = id
            nameOfID[id] = name
        }
    }

    /// Leaps from one queue and priority to the next, so that the messages themselves are not read.
    private mutating func loadLevels() throws {
        var last = Level(queue: .min, priority: .min)
        while let next = try database.first(
            """
            SELECT queue, priority FROM waiting WHERE (queue, priority) > (?, ?)
            ORDER BY queue, priority LIMIT 1
            """, .integer(last.queue), .int(last.priority), make: { Level(queue: $0.int64(0), priority: $0.int(1)) })
        {
            levels.insert(next)
            last = next
        }
    }

    private mutating func id(of name: String) throws -> Int64 {
        if let id = idOfName[name] { return id }
        try database.run("INSERT INTO names (name) VALUES (?)", .text(name))
        let id = database.lastInsertedRowID
        idOfName[name] = id
        nameOfID[id] = name
        return id
    }

    /// Milliseconds for which this store has existed, the time off included as far as the wall clock tells.
    var age: Int64 { ageBase + max(0, clock.monotonic() - monotonicBase) }

    /// The queues in which something may wait.
    func queues() -> Set<QueueName> {
        Set(levels.compactMap { nameOfID[$0.queue].flatMap(QueueName.init(text:)) })
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
        let before = (nextSequence, idOfName, nameOfID, levels)
        do {
            try database.execute("BEGIN IMMEDIATE")
            for removal in removals { try remove(removal) }
            let needed = batches.reduce(0) { $0 + Self.size(of: $1) }
            let isTight = try needed > 0 && usedBytes() + needed > quota
            let now = age
            var results: [Result<Int64, EdgeStoreError>] = []
            for batch in batches {
                if isTight, try !makeRoom(for: batch, overflow, &losses) {
                    results.append(.failure(.full(quota: quota)))
                    continue
                }
                results.append(.success(nextSequence))
                for message in batch { try insert(message, now: now) }
            }
            try persistAge(now)
            try database.execute("COMMIT")
            return results
        } catch {
            try? database.execute("ROLLBACK")
            (nextSequence, idOfName, nameOfID, levels) = before
            losses.removeAll()
            throw Self.failure(error)
        }
    }

    private static func size(of batch: [NewMessage]) -> Int { batch.reduce(0) { $0 + $1.size } }

    private mutating func insert(_ message: NewMessage, now: Int64) throws {
        let source = try id(of: message.source.description)
        let sequence = nextSequence
        nextSequence += 1
        let row = try database.statement("INSERT INTO messages VALUES (?, ?, ?, ?, ?)")
        defer { row.reset() }
        try row.bind(.integer(sequence), at: 1)
        try row.bind(.int(message.destinations.count), at: 2)
        try row.bind(.integer(source), at: 3)
        try message.event.propertyBag.withUnsafeReadableBytes { try row.bind(bytes: $0, at: 4) }
        try message.event.body.withUnsafeReadableBytes { try row.bind(bytes: $0, at: 5) }
        _ = try row.step()
        for destination in message.destinations {
            let level = Level(queue: try id(of: destination.queue.text), priority: destination.priority)
            levels.insert(level)
            let expires = destination.timeToLive.map { now + Int64($0) * 1_000 } ?? .max
            let place = try database.statement("INSERT INTO waiting VALUES (?, ?, ?, ?)")
            defer { place.reset() }
            try place.bind(.integer(level.queue), at: 1)
            try place.bind(.int(level.priority), at: 2)
            try place.bind(.integer(sequence), at: 3)
            try place.bind(.integer(expires), at: 4)
            _ = try place.step()
        }
    }

    private mutating func remove(_ removal: MessageStore.Removal) throws {
        guard let queue = idOfName[removal.queue.text] else { return }
        try remove(
            Level(queue: queue, priority: removal.priority), sequence: removal.sequence, copies: removal.copies)
    }

    private func remove(_ level: Level, sequence: Int64, copies: Int) throws {
        try database.run(
            "DELETE FROM waiting WHERE queue = ? AND priority = ? AND sequence = ?",
            .integer(level.queue), .int(level.priority), .integer(sequence))
        // Removed before: the message may go on waiting elsewhere.
        guard database.changes > 0 else { return }
        if copies > 1 {
            try database.run(
                "UPDATE messages SET copies = copies - 1 WHERE sequence = ? AND copies > 1", .integer(sequence))
            if database.changes > 0 { return }
        }
        try database.run("DELETE FROM messages WHERE sequence = ?", .integer(sequence))
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

    // MARK: Quota

    /// Bytes of the pages in use.
    func usedBytes() throws -> Int {
        (try Self.pragma(database, "page_count") - Self.pragma(database, "freelist_count")) * pageSize
    }

    /// Makes room for a batch by dropping what is no more important than it; false when that does not suffice.
    private mutating func makeRoom(
        for batch: [NewMessage], _ overflow: MessageStore.Overflow, _ losses: inout [MessageLoss]
    ) throws -> Bool {
        let needed = Self.size(of: batch)
        guard try usedBytes() + needed > quota else { return true }
        guard overflow == .dropOldest, needed < quota else { return false }
        let own = batch.flatMap(\.destinations).map(\.priority).min() ?? 0
        // A little more than needed, so that a full store does not come here for each batch.
        let target = max(0, quota - needed - quota / 64)
        for priority in Set(levels.map(\.priority)).filter({ $0 >= own }).sorted(by: >) {
            var used = try usedBytes()
            while used > target, try dropOldest(of: priority, freeing: used - target, &losses) {
                used = try usedBytes()
            }
        }
        return try usedBytes() + needed <= quota
    }

    /// Drops some of the oldest messages of that priority; false when none is left.
    private mutating func dropOldest(
        of priority: Int, freeing bytes: Int, _ losses: inout [MessageLoss]
    ) throws -> Bool {
        var oldest: (level: Level, sequence: Int64)?
        for level in levels where level.priority == priority {
            guard let head = try head(of: level) else { continue }
            if oldest.map({ head.sequence < $0.sequence }) ?? true { oldest = (level, head.sequence) }
        }
        guard let oldest else { return false }
        return try drop(from: oldest.level, limit: 64, bytes: bytes, expiredAt: nil, .displaced, &losses) > 0
    }

    private func head(of level: Level) throws -> (sequence: Int64, expires: Int64)? {
        try database.first(
            "SELECT sequence, expires FROM waiting WHERE queue = ? AND priority = ? ORDER BY sequence LIMIT 1",
            .integer(level.queue), .int(level.priority)
        ) { ($0.int64(0), $0.int64(1)) }
    }

    private mutating func drop(
        from level: Level, limit: Int, bytes: Int = .max, expiredAt now: Int64?,
        _ reason: MessageLoss.Reason, _ losses: inout [MessageLoss]
    ) throws -> Int {
        let rows = try database.rows(
            """
            SELECT w.sequence, w.expires, m.copies, length(m.properties) + length(m.body)
            FROM waiting w JOIN messages m ON m.sequence = w.sequence
            WHERE w.queue = ? AND w.priority = ? ORDER BY w.sequence LIMIT ?
            """, .integer(level.queue), .int(level.priority), .int(limit)
        ) { (sequence: $0.int64(0), expires: $0.int64(1), copies: $0.int(2), size: $0.int(3)) }
        // From the head to the first that still lives: within a queue the age decides.
        let dropped = now.map { now in rows.prefix { $0.expires <= now } } ?? rows[...]
        var count = 0
        var freed = 0
        for row in dropped where freed < bytes {
            try remove(level, sequence: row.sequence, copies: row.copies)
            freed += row.size
            count += 1
        }
        if count > 0, let name = nameOfID[level.queue].flatMap(QueueName.init(text:)) {
            losses.append(MessageLoss(queue: name, reason: reason, count: count))
        }
        return count
    }

    // MARK: Time to live

    /// Removes what has outlived its time.
    ///
    /// - Returns: milliseconds until the next message may expire; nil when none will.
    mutating func expire(losses: inout [MessageLoss]) throws(EdgeStoreError) -> Int64? {
        let now = age
        var next: Int64?
        do {
            for level in levels {
                while let head = try head(of: level) {
                    guard head.expires <= now else {
                        if head.expires < .max { next = min(next ?? .max, head.expires - now) }
                        break
                    }
                    try database.execute("BEGIN IMMEDIATE")
                    var dropped: [MessageLoss] = []
                    do {
                        _ = try drop(from: level, limit: 512, expiredAt: now, .expired, &dropped)
                        try database.execute("COMMIT")
                    } catch {
                        try? database.execute("ROLLBACK")
                        throw error
                    }
                    losses += dropped
                }
            }
            return next
        } catch {
            throw Self.failure(error)
        }
    }

    // MARK: Reading

    /// What waits in a queue behind the given places, the most urgent first.
    func read(
        _ queue: QueueName, after places: [Int: Int64], limit: Int, byteLimit: Int
    ) throws(EdgeStoreError) -> [StoredMessage] {
        guard let id = idOfName[queue.text] else { return [] }
        let now = age
        var found: [StoredMessage] = []
        var bytes = 0
        do {
            for priority in levels.filter({ $0.queue == id }).map(\.priority).sorted() {
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
        guard let source = nameOfID[row.int64(2)].flatMap({ IdentityKey(parsing: $0) }) else { return nil }
        let event = DeviceEvent(
            propertyBag: row.withBlob(3) { ByteBuffer(bytes: $0) }, body: row.withBlob(4) { ByteBuffer(bytes: $0) })
        return StoredMessage(
            sequence: row.int64(0), priority: priority, source: source, event: event, copies: row.int(1))
    }

    func count(in queue: QueueName) throws -> Int {
        guard let id = idOfName[queue.text] else { return 0 }
        return try database.first("SELECT count(*) FROM waiting WHERE queue = ?", .integer(id)) { $0.int(0) } ?? 0
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
}
