import Model
import SQLite

/// What keeps the file small: the quota, and the time to live.
extension MessageTables {
    /// Bytes of the pages in use.
    func usedBytes() throws -> Int {
        (try Self.pragma(database, "page_count") - Self.pragma(database, "freelist_count")) * pageSize
    }

    // MARK: Quota

    /// What a batch may take on disk: a large message fills pages of its own, and a batch may begin new ones in each table.
    func room(for batch: [NewMessage]) -> Int {
        guard !batch.isEmpty else { return 0 }
        return batch.reduce(4 * pageSize) { room, message in
            let size = message.size
            if size <= pageSize / 2 { return room + size + size / 8 }
            return room + (size <= pageSize ? 1 : size / pageSize + 2) * pageSize
        }
    }

    /// Makes room for a batch by dropping what is no more important than it; false when that does not suffice.
    mutating func makeRoom(
        for batch: [NewMessage], _ overflow: MessageStore.Overflow, _ losses: inout [MessageLoss]
    ) throws -> Bool {
        let needed = room(for: batch)
        guard try usedBytes() + needed > quota else { return true }
        guard overflow == .dropOldest, needed < quota else { return false }
        let own = batch.flatMap(\.destinations).map(\.priority).min() ?? 0
        // A little more than needed, so that a full store does not come here for each batch.
        let target = max(0, quota - needed - quota / 64)
        for priority in Set(waiting.keys.map(\.priority)).filter({ $0 >= own }).sorted(by: >) {
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
        for (level, count) in waiting where level.priority == priority && count > 0 {
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

    /// Drops messages from the head of a level: all of them, or with `expiredAt` only those that are due.
    private mutating func drop(
        from level: Level, limit: Int, bytes: Int = .max, expiredAt now: Int64?,
        _ reason: MessageLoss.Reason, _ losses: inout [MessageLoss]
    ) throws -> Int {
        let rows = try database.rows(
            """
            SELECT w.sequence, m.copies, m.source, length(m.properties) + length(m.body)
            FROM waiting w JOIN messages m ON m.sequence = w.sequence
            WHERE w.queue = ? AND w.priority = ? AND w.expires <= ? ORDER BY w.sequence LIMIT ?
            """, .integer(level.queue), .int(level.priority), .integer(now ?? .max), .int(limit)
        ) { (sequence: $0.int64(0), copies: $0.int(1), source: $0.int64(2), size: $0.int(3)) }
        var counts: [Int64: Int] = [:]
        var freed = 0
        for row in rows where freed < bytes {
            try remove(level, sequence: row.sequence, copies: row.copies)
            freed += row.size
            counts[row.source, default: 0] += 1
        }
        guard let queue = names.queue(level.queue) else { return counts.values.reduce(0, +) }
        for (source, count) in counts {
            losses.append(MessageLoss(queue: queue, source: names.source(source), reason: reason, count: count))
        }
        return counts.values.reduce(0, +)
    }

    // MARK: Time to live

    /// Removes what has outlived its time.
    ///
    /// - Returns: milliseconds until the next message may expire; nil when none will.
    mutating func expire(losses: inout [MessageLoss]) throws(EdgeStoreError) -> Int64? {
        let now = age
        var next: Int64?
        do {
            for (level, count) in waiting where count > 0 {
                while let due = try firstExpiry(of: level) {
                    guard due <= now else {
                        if due < .max { next = min(next ?? .max, due - now) }
                        break
                    }
                    guard try dropExpired(from: level, at: now, &losses) else { break }
                }
            }
            return next
        } catch {
            throw Self.failure(error)
        }
    }

    /// When the first message of a level expires: that of the head, unless messages of different times to live are mixed.
    private func firstExpiry(of level: Level) throws -> Int64? {
        guard isDisorderly.contains(level) else { return try head(of: level)?.expires }
        return try database.first(
            "SELECT min(expires) FROM waiting WHERE queue = ? AND priority = ?", .integer(level.queue),
            .int(level.priority)
        ) { $0.optionalInt64(0) } ?? nil
    }

    /// - Returns: whether any was dropped.
    private mutating func dropExpired(
        from level: Level, at now: Int64, _ losses: inout [MessageLoss]
    ) throws -> Bool {
        let before = self
        try database.execute("BEGIN IMMEDIATE")
        var dropped: [MessageLoss] = []
        do {
            let count = try drop(from: level, limit: 512, expiredAt: now, .expired, &dropped)
            try database.execute("COMMIT")
            losses += dropped
            return count > 0
        } catch {
            try? database.execute("ROLLBACK")
            self = before
            throw error
        }
    }
}
