extension HubSchema {
    /// Jobs that write the registry into files, or read it from files.
    static let transfers = """
        CREATE TABLE transfer (
            id TEXT PRIMARY KEY,
            status TEXT NOT NULL,
            created INTEGER NOT NULL,
            ended INTEGER,
            lines INTEGER NOT NULL,
            progress INTEGER NOT NULL,
            request TEXT NOT NULL,
            failure TEXT
        ) WITHOUT ROWID;
        """
}
