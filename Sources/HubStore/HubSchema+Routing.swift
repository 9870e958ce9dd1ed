extension HubSchema {
    /// Where each routing endpoint stands in the message log, what was set by name, and events that are on their way
    /// into the log.
    static let routing = """
        CREATE TABLE setting (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE route_position (
            endpoint TEXT NOT NULL,
            partition INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            PRIMARY KEY (endpoint, partition)
        ) WITHOUT ROWID;

        CREATE TABLE outbox (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            device TEXT NOT NULL,
            module TEXT NOT NULL,
            generation TEXT NOT NULL,
            source INTEGER NOT NULL,
            bag TEXT NOT NULL,
            body TEXT NOT NULL
        );
        """

    /// Authorities whose certificates devices may show.
    static let trust = """
        CREATE TABLE trusted_authority (
            name TEXT PRIMARY KEY,
            certificate TEXT NOT NULL,
            code TEXT NOT NULL,
            verified INTEGER NOT NULL,
            etag INTEGER NOT NULL,
            created INTEGER NOT NULL,
            updated INTEGER NOT NULL
        ) WITHOUT ROWID;
        """

    /// Enrolments, and the devices that came through them.
    static let provisioning = """
        CREATE TABLE enrollment (
            kind TEXT NOT NULL,
            id TEXT NOT NULL,
            etag INTEGER NOT NULL,
            created INTEGER NOT NULL,
            updated INTEGER NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (kind, id)
        ) WITHOUT ROWID;

        CREATE TABLE registration (
            id TEXT PRIMARY KEY,
            enrollment_kind TEXT NOT NULL,
            enrollment TEXT NOT NULL,
            device TEXT NOT NULL,
            status TEXT NOT NULL,
            error_code INTEGER NOT NULL,
            error_message TEXT NOT NULL,
            operation TEXT NOT NULL,
            etag INTEGER NOT NULL,
            created INTEGER NOT NULL,
            updated INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX registration_enrollment ON registration (enrollment_kind, enrollment, id);
        """
}
