package import NIOCore

/// Writes the headers of a tar (POSIX ustar, with GNU's way for names of more than 100 bytes), as the engine reads it.
///
/// The content of a file follows its header, then zeroes up to the next 512 bytes (`padding(after:)`).
package enum TarWriter {
    package struct Entry: Sendable {
        package enum Kind: UInt8, Sendable { case file = 0x30, hardLink = 0x31, symbolicLink = 0x32, folder = 0x35 }

        package var path: String
        package var kind: Kind
        package var mode: UInt32
        /// In bytes; 0 for everything but a file.
        package var size: Int
        /// Unix seconds.
        package var modified: Int
        package var linkTarget: String
        package var owner: Int
        package var group: Int

        package init(
            path: String, kind: Kind = .file, mode: UInt32 = 0o644, size: Int = 0, modified: Int = 0,
            linkTarget: String = "", owner: Int = 0, group: Int = 0
        ) {
            self.path = path
            self.kind = kind
            self.mode = mode
            self.size = size
            self.modified = modified
            self.linkTarget = linkTarget
            self.owner = owner
            self.group = group
        }
    }

    /// Appends the header of an entry.
    package static func write(_ entry: Entry, to buffer: inout ByteBuffer) {
        if entry.linkTarget.utf8.count > 100 { writeLong(entry.linkTarget, type: UInt8(ascii: "K"), to: &buffer) }
        if entry.path.utf8.count > 100 { writeLong(entry.path, type: UInt8(ascii: "L"), to: &buffer) }
        writeHeader(entry, type: entry.kind.rawValue, to: &buffer)
    }

    /// Appends the zeroes that follow a file of that size.
    package static func padding(after size: Int, to buffer: inout ByteBuffer) {
        let rest = size % 512
        if rest > 0 { buffer.writeRepeatingByte(0, count: 512 - rest) }
    }

    /// Appends the end of the archive.
    package static func end(_ buffer: inout ByteBuffer) { buffer.writeRepeatingByte(0, count: 1024) }

    /// Appends a whole small file.
    package static func write(
        file path: String, _ content: some Sequence<UInt8>, mode: UInt32 = 0o644, to buffer: inout ByteBuffer
    ) {
        let bytes = ByteBuffer(bytes: content)
        write(Entry(path: path, mode: mode, size: bytes.readableBytes), to: &buffer)
        buffer.writeImmutableBuffer(bytes)
        padding(after: bytes.readableBytes, to: &buffer)
    }

    private static func writeLong(_ text: String, type: UInt8, to buffer: inout ByteBuffer) {
        let bytes = Array(text.utf8) + [0]
        writeHeader(Entry(path: "././@LongLink", size: bytes.count), type: type, to: &buffer)
        buffer.writeBytes(bytes)
        padding(after: bytes.count, to: &buffer)
    }

    private static func writeHeader(_ entry: Entry, type: UInt8, to buffer: inout ByteBuffer) {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ bytes: some Sequence<UInt8>, at place: Int, limit: Int) {
            for (offset, byte) in bytes.prefix(limit).enumerated() { block[place + offset] = byte }
        }
        func put(number: Int, at place: Int, digits: Int) {
            let text = String(max(0, number), radix: 8)
            if text.utf8.count <= digits {
                put((String(repeating: "0", count: digits - text.utf8.count) + text).utf8, at: place, limit: digits)
            } else {
                // Base 256, marked by the first bit: for files of 8 GiB and more.
                for index in 0...digits {
                    block[place + index] = UInt8(truncatingIfNeeded: number >> min(63, 8 * (digits - index)))
                }
                block[place] = 0x80
            }
        }
        put(entry.path.utf8, at: 0, limit: 100)
        put(number: Int(entry.mode & 0o7777), at: 100, digits: 7)
        put(number: entry.owner, at: 108, digits: 7)
        put(number: entry.group, at: 116, digits: 7)
        put(number: entry.size, at: 124, digits: 11)
        put(number: entry.modified, at: 136, digits: 11)
        put("        ".utf8, at: 148, limit: 8)
        block[156] = type
        put(entry.linkTarget.utf8, at: 157, limit: 100)
        put("ustar\u{0}00".utf8, at: 257, limit: 8)
        let sum = block.reduce(0) { $0 + Int($1) }
        put(number: sum, at: 148, digits: 6)
        block[154] = 0
        block[155] = 0x20
        buffer.writeBytes(block)
    }
}
