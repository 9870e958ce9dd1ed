/// Files in one ZIP archive, as every system opens it; up to 4 GB.
package struct ZipArchive: Sendable {
    private struct Entry {
        let name: [UInt8]
        let sum: UInt32
        let compressed: Int
        let size: Int
        let offset: Int
    }

    private var bytes: [UInt8] = []
    private var entries: [Entry] = []

    package init() {}

    /// - Parameter name: with slashes between folders.
    package mutating func add(_ name: String, _ content: [UInt8]) {
        let packed = Deflate.compress(content)
        let entry = Entry(
            name: Array(name.utf8), sum: CyclicRedundancyCheck.sum(content), compressed: packed.count,
            size: content.count, offset: bytes.count)
        bytes.append(littleEndian: UInt32(0x0403_4B50))
        Self.put(entry, to: &bytes)
        bytes += entry.name
        bytes += packed
        entries.append(entry)
    }

    /// What both headers of a file have in common, up to the length of further fields.
    private static func put(_ entry: Entry, to bytes: inout [UInt8]) {
        bytes.append(littleEndian: UInt16(20))
        // Names are UTF-8.
        bytes.append(littleEndian: UInt16(0x800))
        bytes.append(littleEndian: UInt16(8))
        // Midnight of 1980-01-01, the first that the format knows: an archive of the same files is the same.
        bytes.append(littleEndian: UInt16(0))
        bytes.append(littleEndian: UInt16(0x21))
        bytes.append(littleEndian: entry.sum)
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: entry.compressed))
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: entry.size))
        bytes.append(littleEndian: UInt16(truncatingIfNeeded: entry.name.count))
        bytes.append(littleEndian: UInt16(0))
    }

    /// The whole archive.
    package func finished() -> [UInt8] {
        var result = bytes
        for entry in entries {
            result.append(littleEndian: UInt32(0x0201_4B50))
            result.append(littleEndian: UInt16(0x0314))
            Self.put(entry, to: &result)
            // No comment, first disk, no attributes but the rights rw-r--r--.
            result += [UInt8](repeating: 0, count: 6)
            result.append(littleEndian: UInt32(0o100644) << 16)
            result.append(littleEndian: UInt32(truncatingIfNeeded: entry.offset))
            result += entry.name
        }
        let size = result.count - bytes.count
        result.append(littleEndian: UInt32(0x0605_4B50))
        result.append(littleEndian: UInt32(0))
        result.append(littleEndian: UInt16(truncatingIfNeeded: entries.count))
        result.append(littleEndian: UInt16(truncatingIfNeeded: entries.count))
        result.append(littleEndian: UInt32(truncatingIfNeeded: size))
        result.append(littleEndian: UInt32(truncatingIfNeeded: bytes.count))
        result.append(littleEndian: UInt16(0))
        return result
    }
}
