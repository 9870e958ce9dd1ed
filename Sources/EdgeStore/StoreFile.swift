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
    static func open(
        _ path: String, onDamage: @Sendable (String) -> Void, prepare: (SQLiteDatabase) throws -> Void
    ) throws(EdgeStoreError) -> SQLiteDatabase {
        do {
            return try openOnce(path, prepare: prepare)
        } catch let error as SQLiteError where error.isCorrupt {
            onDamage("\(path) is damaged (\(error.message)); it is kept as \(path).damaged and a new one begins")
            rename(path, path + ".damaged")
            unlink(path + "-wal")
            unlink(path + "-shm")
        } catch {
            throw MessageTables.failure(error)
        }
        do {
            return try openOnce(path, prepare: prepare)
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
