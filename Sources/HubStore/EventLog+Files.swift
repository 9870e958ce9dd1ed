extension EventLog {
    /// The files of a log in their order, for a copy of it; the newest may be growing.
    package static func files(in folder: String) throws(EventLogError) -> [String] {
        try EventFile.names(in: folder).filter(isFile).sorted()
    }

    package static func isFile(_ name: String) -> Bool {
        EventSegmentHeader.id(ofFile: name) != nil && name.utf8.allSatisfy { $0 != 0x2F }
    }

    /// Lets the numbers of a log that nobody has open go on so much later, in every partition.
    package static func skipNumbers(in folder: String, by count: Int64) throws(EventLogError) {
        var (writer, _) = try EventLogWriter.open(folder: folder, options: EventLogOptions())
        try writer.skip(count)
    }
}
