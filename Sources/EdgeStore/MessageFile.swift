/// The message file in use, and what is done when the disk is full or the file turns out to be damaged.
///
/// Not safe to share; `MessageStore` uses it on its writer queue only.
struct MessageFile {
    /// Nil while a damaged file could not be replaced.
    private var tables: MessageTables?
    private let path: String
    private let clock: StoreClock
    private let reserve: DiskReserve
    private let onDamage: @Sendable (String) -> Void
    /// What is asked for; the tables' own quota is lower while the disk is full.
    private(set) var quota: Int
    private(set) var overflow: MessageStore.Overflow
    private(set) var isDiskFull = false

    init(
        folder: String, quota: Int, overflow: MessageStore.Overflow, clock: StoreClock,
        onDamage: @escaping @Sendable (String) -> Void
    ) throws(EdgeStoreError) {
        path = folder + "/messages.db"
        self.clock = clock
        self.onDamage = onDamage
        self.quota = quota
        self.overflow = overflow
        reserve = DiskReserve(folder: folder)
        do throws(EdgeStoreError) {
            tables = try MessageTables(path: path, quota: quota, clock: clock, onDamage: onDamage)
        } catch .damaged(let reason) {
            tables = try MessageTables(
                replacing: path, reason: reason, quota: quota, clock: clock, onDamage: onDamage)
        }
        _ = reserve.take()
    }

    mutating func setLimits(quota: Int, overflow: MessageStore.Overflow) {
        self.overflow = overflow
        guard quota != self.quota else { return }
        self.quota = quota
        if !isDiskFull { try? tables?.setQuota(quota) }
    }

    // MARK: Use

    mutating func commit(
        _ batches: [[NewMessage]], removals: [MessageStore.Removal], losses: inout [MessageLoss]
    ) throws(EdgeStoreError) -> [Result<Int64, EdgeStoreError>] {
        do throws(EdgeStoreError) {
            return try commitOnce(batches, removals, &losses)
        } catch .diskFull {
            makeDo()
        } catch .damaged(let reason) {
            try mend(reason)
        }
        return try commitOnce(batches, removals, &losses)
    }

    private mutating func commitOnce(
        _ batches: [[NewMessage]], _ removals: [MessageStore.Removal], _ losses: inout [MessageLoss]
    ) throws(EdgeStoreError) -> [Result<Int64, EdgeStoreError>] {
        guard tables != nil else { throw .damaged("it could not be replaced") }
        return try tables?.commit(removals: removals, batches: batches, overflow: overflow, losses: &losses) ?? []
    }

    mutating func read(
        _ queue: QueueName, after places: [Int: Int64], limit: Int, byteLimit: Int
    ) throws(EdgeStoreError) -> [StoredMessage] {
        do throws(EdgeStoreError) {
            return try tables?.read(queue, after: places, limit: limit, byteLimit: byteLimit) ?? []
        } catch .damaged(let reason) {
            try mend(reason)
        }
        return try tables?.read(queue, after: places, limit: limit, byteLimit: byteLimit) ?? []
    }

    /// Removes what has outlived its time, and goes back to the whole quota when the disk has room again.
    mutating func expire(losses: inout [MessageLoss]) throws(EdgeStoreError) -> Int64? {
        if isDiskFull, reserve.take() {
            isDiskFull = false
            try? tables?.setQuota(quota)
        }
        do throws(EdgeStoreError) {
            return try tables?.expire(losses: &losses) ?? nil
        } catch .damaged(let reason) {
            try mend(reason)
            return nil
        }
    }

    func queues() -> Set<QueueName> { tables?.queues() ?? [] }
    func depths() -> [(queue: QueueName, priority: Int, count: Int)] { tables?.depths() ?? [] }
    func count(in queue: QueueName) -> Int { tables?.count(in: queue) ?? 0 }

    var fill: MessageStore.Fill {
        MessageStore.Fill(usedBytes: (try? tables?.usedBytes()) ?? 0, quota: quota, isDiskFull: isDiskFull)
    }

    /// - Returns: whether there may be more to give back.
    func giveBackSpace() -> Bool { tables?.giveBackSpace() ?? false }

    mutating func persistAge() { tables?.persistAgeAtEnd() }

    // MARK: Trouble

    /// The disk is full: the reserve is given up, and what the file holds now is all that it may hold.
    private mutating func makeDo() {
        reserve.giveUp()
        isDiskFull = true
        tables?.emptyLog()
        guard let used = try? tables?.usedBytes() else { return }
        try? tables?.setQuota(min(quota, max(used - used / 32, 64 << 10)))
    }

    /// The file is damaged: a new one goes on with what can be read of it.
    private mutating func mend(_ reason: String) throws(EdgeStoreError) {
        let next = tables?.nextSequence ?? 1
        // Closes the database; an open one would take away the new one's log when it ends.
        tables = nil
        var new = try MessageTables(replacing: path, reason: reason, quota: quota, clock: clock, onDamage: onDamage)
        new.nextSequence = max(next, new.nextSequence)
        tables = new
    }
}
