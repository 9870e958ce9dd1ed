package import SQLite

/// The hub's registry file: one thread that writes, and a few that read beside it.
///
/// Writers that wait at the same time share one transaction and one flush of the disk. A write returns when it is
/// durable; whoever reads after that sees it.
package final class HubDatabase: Sendable {
    private typealias WriteJob = @Sendable (WriteTransaction) -> @Sendable ((any Error)?) -> Void
    private typealias ReadJob = @Sendable (SQLiteDatabase) -> Void

    private let writer: WorkThread<WriteJob>
    private let readers: WorkThreadPool<ReadJob>

    /// Opens the file or makes it, and brings its schema up to date. Blocks; call it while starting.
    ///
    /// - Parameters:
    ///   - path: the file; it belongs to one process at a time.
    ///   - readerCount: connections that only read.
    package init(path: String, readerCount: Int = 2) throws {
        writer = try WorkThread {
            let database = try SQLiteDatabase(path: path, synchronous: .full)
            try HubSchema.migrate(database)
            try database.execute("PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -32000")
            return { batch in Self.commit(batch, to: database) }
        }
        readers = try WorkThreadPool(count: readerCount) {
            let database = try SQLiteDatabase(path: path, readOnly: true)
            try database.execute("PRAGMA cache_size = -16000; PRAGMA query_only = ON")
            return { batch in for job in batch { job(database) } }
        }
    }

    /// Ends after everything that was handed over is committed.
    package func close() {
        writer.end()
        readers.end()
    }

    /// Runs `body` in a transaction that it may share with other writers; what it throws undoes its own writes only.
    ///
    /// - Returns: what `body` returned, once that is on the disk.
    /// - Throws: what `body` throws, or `SQLiteError` when the commit fails.
    package func write<Result: Sendable>(
        _ body: @escaping @Sendable (WriteTransaction) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let taken = writer.submit { transaction in
                let result = transaction.attempt(body)
                return { failure in
                    if let failure, case .success = result {
                        continuation.resume(throwing: failure)
                    } else {
                        continuation.resume(with: result)
                    }
                }
            }
            if !taken { continuation.resume(throwing: HubDatabaseClosed()) }
        }
    }

    /// Runs `body` on a connection that sees everything committed so far, and cannot write.
    package func read<Result: Sendable>(
        _ body: @escaping @Sendable (SQLiteDatabase) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let taken = readers.submit { database in
                continuation.resume(with: Swift.Result { try body(database) })
            }
            if !taken { continuation.resume(throwing: HubDatabaseClosed()) }
        }
    }

    private static func commit(_ batch: [WriteJob], to database: SQLiteDatabase) {
        let transaction = WriteTransaction(database: database)
        var answers: [@Sendable ((any Error)?) -> Void] = []
        answers.reserveCapacity(batch.count)
        var failure: (any Error)?
        do {
            try database.transaction {
                for job in batch { answers.append(job(transaction)) }
                if let broken = transaction.failure { throw broken }
            }
        } catch {
            failure = error
        }
        if let failure {
            // A job that never ran has no answer yet: it is told the same.
            if answers.count < batch.count {
                let lost = WriteTransaction(database: database, failure: failure)
                for job in batch.dropFirst(answers.count) { answers.append(job(lost)) }
            }
        } else {
            for action in transaction.actions { action() }
        }
        for answer in answers { answer(failure) }
    }
}

/// The database was closed before the work could start.
package struct HubDatabaseClosed: Error, CustomStringConvertible {
    package init() {}
    package var description: String { "the hub is shutting down" }
}

/// What a write may use; lives as long as one transaction, on the writer's thread.
package final class WriteTransaction {
    package let database: SQLiteDatabase
    fileprivate private(set) var actions: [@Sendable () -> Void] = []
    fileprivate private(set) var failure: (any Error)?

    fileprivate init(database: SQLiteDatabase, failure: (any Error)? = nil) {
        self.database = database
        self.failure = failure
    }

    /// Runs once the transaction is durable, before its writers are told, in the order of the writes; must be brief and
    /// must not block. Forgotten when the write is undone.
    package func afterCommit(_ action: @escaping @Sendable () -> Void) { actions.append(action) }

    /// Runs a part of a write that is undone alone when it throws.
    package func nested<Result>(_ body: () throws -> Result) throws -> Result {
        let count = actions.count
        try database.run("SAVEPOINT part")
        do {
            let result = try body()
            try database.run("RELEASE part")
            return result
        } catch {
            actions.removeSubrange(count...)
            try database.run("ROLLBACK TO part")
            try database.run("RELEASE part")
            throw error
        }
    }

    fileprivate func attempt<Result>(_ body: (WriteTransaction) throws -> Result) -> Swift.Result<Result, any Error> {
        if let failure { return .failure(failure) }
        let count = actions.count
        do {
            try database.run("SAVEPOINT job")
            do {
                let result = try body(self)
                try database.run("RELEASE job")
                return .success(result)
            } catch {
                actions.removeSubrange(count...)
                try database.run("ROLLBACK TO job")
                try database.run("RELEASE job")
                return .failure(error)
            }
        } catch {
            // The savepoint could not be undone alone, so the whole transaction is.
            failure = error
            return .failure(error)
        }
    }
}
