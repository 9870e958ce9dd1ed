/// How a log is kept.
package struct EventLogOptions: Sendable {
    /// 1 to 32; taken when the log is made and fixed from then on.
    package var partitions = 4
    /// How long messages are kept at least until they may go; nil keeps them until the bytes are needed.
    package var retentionAge: Duration? = .seconds(24 * 3600)
    /// Bytes of all files together beyond which the oldest go.
    package var retentionBytes = 8 << 30
    /// Bytes of one file; messages go in steps of a file.
    package var segmentBytes = 64 << 20
    /// Bytes that may wait in memory for the disk.
    package var pendingLimit = 32 << 20

    package init() {}
}
