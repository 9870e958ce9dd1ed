import FoundationEssentials

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The one folder in which `up` keeps everything: the data of hub and edge, the private engine, keys, pid files, logs.
package struct StateFolder: Sendable {
    /// Absolute, without a slash at the end.
    package let path: String

    /// - Parameter path: absolute, or relative to the working folder.
    package init(_ path: String) {
        let absolute = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
        var parts: [Substring] = []
        for part in absolute.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        self.path = "/" + parts.joined(separator: "/")
    }

    /// Eight hexadecimal digits that belong to this path: they name the network, the bridge and the labels, so that two
    /// instances on one engine never meet and a later `down` finds what an interrupted `up` made.
    package var instance: String {
        let hash = path.utf8.reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let digits = String(UInt32(truncatingIfNeeded: hash ^ (hash >> 32)), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    package var hub: String { path + "/hub" }
    package var edge: String { path + "/edge" }
    package var engine: String { path + "/engine" }
    package var registry: String { path + "/registry" }
    package var deployment: String { path + "/deployment" }
    package var environmentFile: String { path + "/env" }
    package var authority: String { path + "/hub-ca.pem" }
    package var engineSocket: String { engine + "/docker.sock" }

    package func log(_ name: String) -> String { path + "/logs/" + name + ".log" }
    /// What has to be undone at the end, one small file each.
    package func record(_ name: String) -> String { path + "/run/" + name }

    /// Makes the folder (0700) with its sub-folders.
    func create() throws(UpFailure) {
        // The sockets of the modules and of the engine lie below; a socket's address holds 107 bytes.
        guard path.utf8.count <= 70 else {
            throw UpFailure(
                "the state folder \(path) has too long a name for the sockets in it; give a shorter --state")
        }
        for folder in [path, path + "/logs", path + "/run"] { try Self.makeFolder(folder) }
    }

    static func makeFolder(_ path: String) throws(UpFailure) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw UpFailure("cannot make the folder \(path): \(systemMessage())")
        }
    }

    static func remove(_ path: String) {
        if exists(path) { try? FileManager.default.removeItem(atPath: path) }
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// The file's text without white space at its end; nil when it cannot be read.
    static func read(_ path: String) -> String? {
        guard let bytes = FileManager.default.contents(atPath: path) else { return nil }
        var text = Substring(decoding: bytes, as: UTF8.self)
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }

    /// Writes a file as a whole: under another name first, so that nobody ever sees half of it.
    ///
    /// - Parameter mode: 0600, since most of what is written here holds a key.
    static func write(_ text: String, to path: String, mode: mode_t = 0o600) throws(UpFailure) {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw UpFailure("cannot write \(path): \(systemMessage())") }
        var text = text
        let written = text.withUTF8 { Glibc.write(descriptor, $0.baseAddress, $0.count) == $0.count }
        let problem = systemMessage()
        close(descriptor)
        guard written, rename(temporary, path) == 0 else {
            unlink(temporary)
            throw UpFailure("cannot write \(path): \(written ? systemMessage() : problem)")
        }
    }

    /// The last lines of a log, for an error message.
    static func tail(_ path: String, lines: Int = 12) -> String {
        guard let text = read(path) else { return "" }
        return text.split(separator: "\n").suffix(lines).map { "    " + $0.prefix(300) }.joined(separator: "\n")
    }
}

/// What the system says about the last call that failed.
func systemMessage() -> String { String(cString: strerror(errno)) }
