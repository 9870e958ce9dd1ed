extension HubSchema {
    /// Messages for devices, and what became of them. Numbers are never given twice, so that a message that was settled
    /// is not taken for a later one.
    static let cloudToDevice = """
        CREATE TABLE message (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            device TEXT NOT NULL,
            module TEXT NOT NULL,
            enqueued INTEGER NOT NULL,
            expiry INTEGER NOT NULL,
            deliveries INTEGER NOT NULL,
            feedback INTEGER NOT NULL,
            id TEXT,
            properties BLOB NOT NULL,
            body BLOB NOT NULL
        );
        CREATE INDEX message_queue ON message (device, module, number);
        CREATE INDEX message_expiry ON message (expiry);

        CREATE TABLE feedback_batch (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            created INTEGER NOT NULL,
            deliveries INTEGER NOT NULL
        );
        CREATE TABLE feedback (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            batch INTEGER,
            device TEXT NOT NULL,
            module TEXT NOT NULL,
            generation TEXT NOT NULL,
            message TEXT NOT NULL,
            time INTEGER NOT NULL,
            outcome TEXT NOT NULL
        );
        CREATE INDEX feedback_batches ON feedback (batch, number);
        CREATE INDEX feedback_devices ON feedback (device, module);
        """
}
