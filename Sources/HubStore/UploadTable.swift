package import Model
package import SQLite

/// A file that a device may upload now.
package struct UploadRecord: Sendable, Hashable {
    /// The correlation id that the device was given.
    package let id: String
    package let deviceID: String
    package let blob: String
    package let created: Timestamp

    package init(id: String, deviceID: String, blob: String, created: Timestamp) {
        self.id = id
        self.deviceID = deviceID
        self.blob = blob
        self.created = created
    }
}

/// A file that was uploaded, for services to be told of.
package struct FileNotification: Sendable, Hashable {
    package let number: Int64
    package let deviceID: String
    package let blob: String
    package let uri: String
    package let size: Int64
    package let modified: Timestamp
    package let created: Timestamp
    /// How often it was given back.
    package let deliveries: Int

    package init(
        number: Int64 = 0, deviceID: String, blob: String, uri: String, size: Int64, modified: Timestamp,
        created: Timestamp, deliveries: Int = 0
    ) {
        self.number = number
        self.deviceID = deviceID
        self.blob = blob
        self.uri = uri
        self.size = size
        self.modified = modified
        self.created = created
        self.deliveries = deliveries
    }
}

extension SQLiteDatabase {
    package func upload(_ id: String) throws -> UploadRecord? {
        try first("SELECT id, device, blob, created FROM upload WHERE id = ?", .text(id)) { Self.upload($0) }
    }

    package func uploads(of deviceID: String) throws -> [UploadRecord] {
        try rows("SELECT id, device, blob, created FROM upload WHERE device = ? ORDER BY id", .text(deviceID)) {
            Self.upload($0)
        }
    }

    package func uploads(begunBefore time: Timestamp) throws -> [UploadRecord] {
        try rows("SELECT id, device, blob, created FROM upload WHERE created < ?", .integer(time.ticks)) {
            Self.upload($0)
        }
    }

    private static func upload(_ row: borrowing SQLiteRow) -> UploadRecord {
        UploadRecord(
            id: row.text(0), deviceID: row.text(1), blob: row.text(2), created: Timestamp(ticks: row.int64(3)))
    }

    /// The numbers of the notifications that wait, oldest first.
    package func fileNotifications(limit: Int) throws -> [Int64] {
        try rows("SELECT number FROM file_notification ORDER BY number LIMIT ?", .int(limit)) { $0.int64(0) }
    }

    package func fileNotification(_ number: Int64) throws -> FileNotification? {
        try first(
            """
            SELECT number, device, blob, uri, size, modified, created, deliveries FROM file_notification
            WHERE number = ?
            """, .integer(number)
        ) {
            FileNotification(
                number: $0.int64(0), deviceID: $0.text(1), blob: $0.text(2), uri: $0.text(3), size: $0.int64(4),
                modified: Timestamp(ticks: $0.int64(5)), created: Timestamp(ticks: $0.int64(6)),
                deliveries: $0.int(7))
        }
    }
}

extension WriteTransaction {
    /// Notifications that are kept for readers that do not come; beyond, the oldest go.
    static let fileNotificationLimit = 10_000

    package func insert(_ upload: UploadRecord) throws {
        try database.run(
            "INSERT INTO upload (id, device, blob, created) VALUES (?, ?, ?, ?)", .text(upload.id),
            .text(upload.deviceID), .text(upload.blob), .integer(upload.created.ticks))
    }

    package func removeUpload(_ id: String) throws {
        try database.run("DELETE FROM upload WHERE id = ?", .text(id))
    }

    package func insert(_ notification: FileNotification) throws {
        try database.run(
            """
            INSERT INTO file_notification (device, blob, uri, size, modified, created, deliveries)
            VALUES (?, ?, ?, ?, ?, ?, 0)
            """, .text(notification.deviceID), .text(notification.blob), .text(notification.uri),
            .integer(notification.size), .integer(notification.modified.ticks), .integer(notification.created.ticks))
        try database.run(
            "DELETE FROM file_notification WHERE number <= ?",
            .integer(database.lastInsertedRowID - Int64(Self.fileNotificationLimit)))
    }

    package func removeFileNotification(_ number: Int64) throws {
        try database.run("DELETE FROM file_notification WHERE number = ?", .integer(number))
    }

    /// Counts a notification that was given back; it goes with the last time that is allowed.
    package func abandonFileNotification(_ number: Int64, limit: Int) throws {
        try database.run(
            "UPDATE file_notification SET deliveries = deliveries + 1 WHERE number = ?", .integer(number))
        try database.run(
            "DELETE FROM file_notification WHERE number = ? AND deliveries >= ?", .integer(number), .int(limit))
    }
}
