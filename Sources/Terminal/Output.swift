package import ArgumentParser

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// How a command writes its results.
package enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case table, json
}

/// The option that every command with results has.
package struct OutputOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "How to write the result: table or json.")
    package var output: OutputFormat = .table

    package init() {}
}

/// The two streams of a command: results on standard output, everything else on standard error.
package enum Terminal {
    package static var isOutputTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
    package static var isErrorTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Writes a line of the result; it has left the process when this returns.
    package static func result(_ line: String) { write(line + "\n", to: STDOUT_FILENO) }

    /// Writes bytes of the result as they are.
    package static func output(_ bytes: [UInt8]) { bytes.withUnsafeBytes { write($0, to: STDOUT_FILENO) } }

    /// Writes a line for the person who watches.
    package static func note(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

    /// Writes text as it is, for progress that overwrites itself.
    package static func progress(_ text: String) { write(text, to: STDERR_FILENO) }

    /// Columns of the terminal; nil when there is none.
    package static var width: Int? {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }

    /// Lines of the terminal; nil when there is none.
    package static var height: Int? {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0 else { return nil }
        return Int(size.ws_row)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { write(UnsafeRawBufferPointer($0), to: descriptor) }
    }

    private static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) {
        var rest = bytes
        while !rest.isEmpty {
            let count = systemWrite(descriptor, rest)
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            // A reader that has left, as `head` does, wants nothing more.
            guard count > 0 else { return }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }
}

// Outside of the type, where the bare name means the system's call.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    write(descriptor, bytes.baseAddress, bytes.count)
}
