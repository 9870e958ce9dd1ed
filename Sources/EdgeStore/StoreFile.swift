import SQLite

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Opens the files of the store so that only their owner reads them.
enum StoreFile {
    /// Makes the folder with mode 0700 unless it is there; its parent must exist.
    static func makeFolder(_ path: String) throws(EdgeStoreError) {
        guard mkdir(path, 0o700) != 0, errno != EEXIST else { return }
        throw .disk("cannot make the folder \(path): \(String(cString: strerror(errno)))")
    }

    /// Opens or makes a database of mode 0600; the files that SQLite puts beside it take the same mode.
    ///
    /// A damaged file is set aside under the name `….damaged` and a new one begun: a device that does not start
    /// serves nobody.
    ///
    /// - Parameter rescue: takes over into the new database what can be read of the damaged one, and returns how many
    ///   messages or rows that were.
    static func open(
        _ path: String, onDamage: @Sendable (String) -> Void, prepare: (SQLiteDatabase) throws -> Void,
        rescue: (_ damaged: SQLiteDatabase, _ new: SQLiteDatabase) -> Int = { _, _ in 0 }
    ) throws(EdgeStoreError) -> SQLiteDatabase {
        do {
            return try openOnce(path, prepare: prepare)
        } catch let error as SQLiteError where error.isCorrupt {
            return try replace(path, reason: error.message, onDamage: onDamage, prepare: prepare, rescue: rescue)
        } catch {
            throw MessageTables.failure(error)
        }
    }

    /// Sets a damaged database aside, which must be closed, and begins a new one with what can be read of it.
    static func replace(
        _ path: String, reason: String, onDamage: @Sendable (String) -> Void,
        prepare: (SQLiteDatabase) throws -> Void, rescue: (SQLiteDatabase, SQLiteDatabase) -> Int
    ) throws(EdgeStoreError) -> SQLiteDatabase {
        let aside = path + ".damaged"
        unlink(aside + "-wal")
        unlink(aside + "-shm")
        rename(path, aside)
        // What was committed last is in there.
        rename(path + "-wal", aside + "-wal")
        unlink(path + "-shm")
        do {
            let new = try openOnce(path, prepare: prepare)
            let count = (try? SQLiteDatabase(path: aside)).map { rescue($0, new) } ?? 0
            onDamage("\(path) is damaged (\(reason)); it is kept as \(aside), and \(count) entries of it go on")
            return new
        } catch {
            throw MessageTables.failure(error)
        }
    }

    private static func openOnce(
        _ path: String, prepare: (SQLiteDatabase) throws -> Void
    ) throws -> SQLiteDatabase {
        let descriptor = Self.create(path)
        guard descriptor >= 0 else { throw EdgeStoreError.disk("\(path): \(String(cString: strerror(errno)))") }
        close(descriptor)
        let database = try SQLiteDatabase(path: path)
        try prepare(database)
        return database
    }

    private static func create(_ path: String) -> Int32 {
        #if canImport(Glibc)
            Glibc.open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        #elseif canImport(Musl)
            Musl.open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        #else
            Darwin.open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        #endif
    }
}
