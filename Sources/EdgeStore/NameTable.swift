import Model
import SQLite

/// The numbers under which the message file knows queues and senders.
struct NameTable {
    private var idOfQueue: [QueueName: Int64] = [:]
    private var idOfSource: [IdentityKey: Int64] = [:]
    private var queueOfID: [Int64: QueueName] = [:]
    private var sourceOfID: [Int64: IdentityKey] = [:]

    /// Reads the names; when nothing waits, nothing refers to the old ones any more and they are forgotten.
    init(_ database: SQLiteDatabase) throws {
        try database.run("DELETE FROM names WHERE NOT EXISTS (SELECT 1 FROM waiting)")
        for (id, name) in try database.rows("SELECT id, name FROM names", make: { ($0.int64(0), $0.text(1)) }) {
            add(name, id)
        }
    }

    private mutating func add(_ name: String, _ id: Int64) {
        if let queue = QueueName(text: name) {
            idOfQueue[queue] = id
            queueOfID[id] = queue
        } else if let source = IdentityKey(parsing: name) {
            idOfSource[source] = id
            sourceOfID[id] = source
        }
    }

    func queue(_ id: Int64) -> QueueName? { queueOfID[id] }
    func source(_ id: Int64) -> IdentityKey? { sourceOfID[id] }
    func id(of queue: QueueName) -> Int64? { idOfQueue[queue] }

    mutating func makeID(of queue: QueueName, in database: SQLiteDatabase) throws -> Int64 {
        if let id = idOfQueue[queue] { return id }
        return try make(queue.text, in: database)
    }

    mutating func makeID(of source: IdentityKey, in database: SQLiteDatabase) throws -> Int64 {
        if let id = idOfSource[source] { return id }
        return try make(source.description, in: database)
    }

    private mutating func make(_ name: String, in database: SQLiteDatabase) throws -> Int64 {
        try database.run("INSERT INTO names (name) VALUES (?)", .text(name))
        let id = database.lastInsertedRowID
        add(name, id)
        return id
    }
}
