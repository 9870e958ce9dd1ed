extension HubSchema {
    /// Uploads of files that devices have begun, and notifications of those that ended well.
    static let files = """
        CREATE TABLE upload (
            id TEXT PRIMARY KEY,
            device TEXT NOT NULL,
            blob TEXT NOT NULL,
            created INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX upload_devices ON upload (device, blob);
        CREATE INDEX upload_ages ON upload (created);

        CREATE TABLE file_notification (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            device TEXT NOT NULL,
            blob TEXT NOT NULL,
            uri TEXT NOT NULL,
            size INTEGER NOT NULL,
            modified INTEGER NOT NULL,
            created INTEGER NOT NULL,
            deliveries INTEGER NOT NULL
        );
        """
}
