import HubStore
import Model
import PKI
import SQLite

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension HubFolder {
    /// Writes everything that the hub keeps into one file (tar, 0600: it holds keys), also while the hub runs.
    ///
    /// Whatever was acknowledged before this is called is in it. Blocks; the file is there whole or not at all.
    package func backUp(to file: String) throws {
        guard try SecretFile.read(path + "/hub.json") != nil else { throw Failure.noHub(path) }
        let time = Timestamp.now().seconds
        let temporary = "\(file).\(getpid()).new"
        let snapshot = "\(path)/backup-\(getpid()).db"
        defer { for name in [temporary, snapshot] { unlink(name) } }
        unlink(snapshot)
        // The registry first: a place in the log that is older than the log costs a message that comes twice, a younger
        // one would cost messages.
        let database = try SQLiteDatabase(path: registry, readOnly: true)
        try database.run("VACUUM INTO ?", .text(snapshot))
        chmod(snapshot, 0o600)
        let archive = try TarWriter(creating: temporary)
        guard try archive.add(snapshot, as: "registry.db", at: time) else { throw Failure.noHub(path) }
        for name in ["hub.json", "ca/ca.pem", "ca/ca.key.pem"] + Self.serverFiles {
            _ = try archive.add("\(path)/\(name)", as: name, at: time)
        }
        for name in try EventLog.files(in: events) {
            _ = try archive.add("\(events)/\(name)", as: "events/\(name)", at: time)
        }
        try archive.finish()
        guard rename(temporary, file) == 0 else { throw FileError("rename into place", path: file, code: errno) }
    }

    private static let serverFiles = ["tls/server.json", "tls/server.pem", "tls/server.key.pem"]

    /// Puts a backup in place of the folder, in which no hub may run. What was there stays beside it under another name.
    ///
    /// Numbers of messages go on far beyond those of the backup, so that none is given twice to messages that came after
    /// it was made.
    ///
    /// - Returns: where the folder's earlier content is now; nil when there was none.
    package func restore(from file: String) throws -> String? {
        let whole = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        let new = "\(whole).restoring-\(getpid())"
        var facts = stat()
        // Nobody may be using what is moved away.
        let lock = stat(whole, &facts) == 0 ? try HubFolderLock(path: whole) : nil
        do {
            try unpack(file, into: new)
            try EventLog.skipNumbers(in: "\(new)/events", by: 1 << 20)
        } catch {
            Self.removeAll(new)
            throw error
        }
        var aside: String?
        if let lock {
            let name = "\(whole).before-restore-\(Timestamp.now().seconds)"
            guard rename(whole, name) == 0 else {
                let failure = FileError("move away", path: whole, code: errno)
                Self.removeAll(new)
                throw failure
            }
            aside = name
            lock.release()
        }
        guard rename(new, whole) == 0 else { throw FileError("rename into place", path: whole, code: errno) }
        return aside
    }

    private func unpack(_ file: String, into folder: String) throws {
        let archive = try TarReader(file)
        for part in ["", "/ca", "/tls", "/events"] { try SecretFile.makeFolder(folder + part) }
        var names: Set<String> = []
        while let header = try archive.next() {
            guard Self.isKnown(header.name), names.insert(header.name).inserted else {
                throw Failure.file("\(file) is no backup of a hub: it holds '\(header.name)'")
            }
            try archive.extract(header, to: "\(folder)/\(header.name)")
        }
        for name in ["registry.db", "hub.json", "ca/ca.pem", "ca/ca.key.pem"] where !names.contains(name) {
            throw Failure.file("\(file) is no whole backup of a hub: '\(name)' is missing")
        }
    }

    private static func isKnown(_ name: String) -> Bool {
        if ["registry.db", "hub.json", "ca/ca.pem", "ca/ca.key.pem"].contains(name) { return true }
        return serverFiles.contains(name) || name.hasPrefix("events/") && EventLog.isFile(String(name.dropFirst(7)))
    }

    /// Of a folder that this made: one level of folders.
    private static func removeAll(_ folder: String) {
        for part in ["/ca", "/tls", "/events", ""] {
            guard let listing = opendir(folder + part) else { continue }
            while let entry = readdir(listing) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name != ".", name != ".." { unlink("\(folder)\(part)/\(name)") }
            }
            closedir(listing)
            rmdir(folder + part)
        }
    }
}
