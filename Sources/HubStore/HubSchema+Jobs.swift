extension HubSchema {
    /// Jobs on twins, with one row for each device or module that a job concerns.
    static let jobs = """
        CREATE TABLE job (
            id TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            status TEXT NOT NULL,
            created INTEGER NOT NULL,
            start INTEGER NOT NULL,
            ended INTEGER,
            seconds INTEGER NOT NULL,
            request TEXT NOT NULL,
            failure TEXT,
            planned INTEGER NOT NULL,
            device TEXT NOT NULL,
            module TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX job_starts ON job (start) WHERE ended IS NULL;

        CREATE TABLE job_part (
            job TEXT NOT NULL,
            device TEXT NOT NULL,
            module TEXT NOT NULL,
            status TEXT NOT NULL,
            created INTEGER NOT NULL,
            started INTEGER,
            ended INTEGER,
            outcome TEXT,
            error TEXT,
            PRIMARY KEY (job, device, module)
        ) WITHOUT ROWID;
        CREATE INDEX job_part_status ON job_part (job, status, device, module);
        CREATE INDEX job_part_device ON job_part (device, module, job);
        """
}
