package import Logging

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// How log lines look.
package enum LogFormat: String, Sendable, CaseIterable {
    /// For people, and for a journal, which stamps the time itself.
    case plain
    /// One JSON object a line.
    case json
}

/// Writes log lines to standard error, one `write` for each, so that lines of threads do not mix.
package struct StandardErrorLog: LogHandler {
    package var metadataProvider: Logger.MetadataProvider?
    package var metadata: Logger.Metadata = [:]
    package var logLevel: Logger.Level
    private let label: String
    private let format: LogFormat
    private let stampsTime: Bool
    private let write: @Sendable (String) -> Void

    /// - Parameters:
    ///   - stampsTime: whether plain lines begin with the time; by default when standard error is a terminal.
    ///   - write: takes a whole line with its end; by default standard error.
    package init(
        label: String, level: Logger.Level = .info, format: LogFormat = .plain, stampsTime: Bool? = nil,
        write: @escaping @Sendable (String) -> Void = StandardErrorLog.writeToStandardError
    ) {
        self.label = label
        self.logLevel = level
        self.format = format
        self.stampsTime = stampsTime ?? (isatty(2) == 1)
        self.write = write
    }

    /// Makes every `Logger` of this process log like this; to be called once, by a program.
    ///
    /// - Parameter recent: is given every line, too.
    package static func bootstrap(level: Logger.Level, format: LogFormat, recent: RecentLog? = nil) {
        guard let recent else {
            LoggingSystem.bootstrap { StandardErrorLog(label: $0, level: level, format: format) }
            return
        }
        LoggingSystem.bootstrap { label in
            StandardErrorLog(label: label, level: level, format: format) { line in
                recent.add(line)
                writeToStandardError(line)
            }
        }
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let own = event.metadata { all.merge(own) { $1 } }
        let facts = all.sorted { $0.key < $1.key }
        switch format {
        case .plain: write(plainLine(event, facts))
        case .json: write(jsonLine(event, facts))
        }
    }

    private func plainLine(_ event: LogEvent, _ facts: [(key: String, value: Logger.MetadataValue)]) -> String {
        var line = stampsTime ? "\(Self.timestamp()) " : ""
        line += "\(event.level) \(label): \(Self.oneLine("\(event.message)"))"
        for (key, value) in facts {
            let text = Self.oneLine("\(value)")
            line += " \(key)=" + (text.contains(" ") || text.isEmpty ? "\"\(text)\"" : text)
        }
        return line + "\n"
    }

    private func jsonLine(_ event: LogEvent, _ facts: [(key: String, value: Logger.MetadataValue)]) -> String {
        var line = "{\"time\":\"\(Self.timestamp())\",\"level\":\"\(event.level)\",\"label\":\(Self.quoted(label))"
        line += ",\"message\":\(Self.quoted("\(event.message)"))"
        for (key, value) in facts where !["time", "level", "label", "message"].contains(key) {
            line += ",\(Self.quoted(key)):\(Self.quoted("\(value)"))"
        }
        return line + "}\n"
    }

    private static func oneLine(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return text }
        return String(
            String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 }))
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case let control where control.value < 0x20:
                let digits = String(control.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// UTC with milliseconds, as RFC 3339 writes it.
    private static func timestamp() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        var seconds = now.tv_sec
        gmtime_r(&seconds, &parts)
        func padded(_ value: some BinaryInteger, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let day = "\(padded(parts.tm_year + 1900, 4))-\(padded(parts.tm_mon + 1, 2))-\(padded(parts.tm_mday, 2))"
        let time = "\(padded(parts.tm_hour, 2)):\(padded(parts.tm_min, 2)):\(padded(parts.tm_sec, 2))"
        return "\(day)T\(time).\(padded(now.tv_nsec / 1_000_000, 3))Z"
    }

    @Sendable package static func writeToStandardError(_ line: String) {
        var line = line
        line.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while !rest.isEmpty {
                let written = writeBytes(2, rest.baseAddress, rest.count)
                if written < 0 && errno == EINTR { continue }
                // Nobody reads the log any more: nothing can be done about it, least of all logging it.
                guard written > 0 else { return }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
            }
        }
    }
}

/// The C library's `write`, which `StandardErrorLog.write` hides.
private func writeBytes(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}
