import Model
import PKI

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Writes a tar archive (POSIX ustar) piece by piece, with mode 0600.
final class TarWriter {
    private let path: String
    private let descriptor: Int32

    /// - Throws: `FileError`; a file of that name must not be there.
    init(creating path: String) throws {
        self.path = path
        descriptor = openFile(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileError("create", path: path, code: errno) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Adds a file as far as it goes now; one that grows meanwhile is cut there. False when it is gone.
    func add(_ file: String, as name: String, at time: Int64) throws -> Bool {
        let source = openFile(file, O_RDONLY | O_CLOEXEC, 0)
        guard source >= 0 else {
            if errno == ENOENT { return false }
            throw FileError("open", path: file, code: errno)
        }
        defer { close(source) }
        var facts = stat()
        guard fstat(source, &facts) == 0 else { throw FileError("look at", path: file, code: errno) }
        let size = Int(facts.st_size)
        try write(TarHeader(name: name, size: size).bytes(time: time))
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var left = size
        while left > 0 {
            let wanted = min(left, buffer.count)
            var count = buffer.withUnsafeMutableBytes { read(source, $0.baseAddress, wanted) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileError("read", path: file, code: errno) }
            if count == 0 {
                // It became shorter: what its header promised is filled up.
                count = wanted
                for place in 0..<count { buffer[place] = 0 }
            }
            try write(buffer[..<count])
            left -= count
        }
        let padding = (512 - size % 512) % 512
        if padding > 0 { try write([UInt8](repeating: 0, count: padding)[...]) }
        return true
    }

    /// Writes the end, and returns when all is on the disk.
    func finish() throws {
        try write([UInt8](repeating: 0, count: 1024)[...])
        guard fsync(descriptor) == 0 else { throw FileError("flush", path: path, code: errno) }
    }

    private func write(_ bytes: [UInt8]) throws { try write(bytes[...]) }

    private func write(_ bytes: ArraySlice<UInt8>) throws {
        try bytes.withUnsafeBytes { bytes in
            var written = 0
            while written < bytes.count {
                let count = systemWrite(descriptor, UnsafeRawBufferPointer(rebasing: bytes[written...]))
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw FileError("write", path: path, code: errno) }
                written += count
            }
        }
    }
}

/// Reads the archives that `TarWriter` writes.
final class TarReader {
    private let path: String
    private let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        descriptor = openFile(path, O_RDONLY | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw FileError("open", path: path, code: errno) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The next file; nil at the end. Its content has to be extracted before the next one.
    func next() throws -> TarHeader? {
        let block = try read(512)
        guard block.count == 512 else { throw HubFolder.Failure.file("\(path) is no whole backup: it ends too early") }
        if block.allSatisfy({ $0 == 0 }) { return nil }
        guard let header = TarHeader(block) else { throw HubFolder.Failure.file("\(path) is no backup of a hub") }
        return header
    }

    /// Writes the content of the file that `next` gave, with mode 0600, and flushes it.
    func extract(_ header: TarHeader, to file: String) throws {
        let target = openFile(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard target >= 0 else { throw FileError("create", path: file, code: errno) }
        defer { close(target) }
        var left = header.size
        while left > 0 {
            let piece = try read(min(left, 1 << 20))
            guard !piece.isEmpty else { throw HubFolder.Failure.file("\(path) is no whole backup: it ends too early") }
            var written = 0
            while written < piece.count {
                let count = piece.withUnsafeBytes {
                    systemWrite(target, UnsafeRawBufferPointer(rebasing: $0[written...]))
                }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw FileError("write", path: file, code: errno) }
                written += count
            }
            left -= piece.count
        }
        _ = try read((512 - header.size % 512) % 512)
        guard fsync(target) == 0 else { throw FileError("flush", path: file, code: errno) }
    }

    /// Fewer bytes only at the end of the archive.
    private func read(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes { room in
                systemRead(descriptor, UnsafeMutableRawBufferPointer(rebasing: room[done...]))
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw FileError("read", path: path, code: errno) }
            if got == 0 { break }
            done += got
        }
        return Array(bytes[..<done])
    }
}

/// What stands before each file of an archive.
struct TarHeader: Equatable {
    let name: String
    let size: Int

    init(name: String, size: Int) {
        self.name = name
        self.size = size
    }

    /// Nil when the bytes are no header of a plain file.
    init?(_ block: [UInt8]) {
        guard block.count == 512, block[156] == UInt8(ascii: "0") || block[156] == 0 else { return nil }
        func number(_ range: Range<Int>) -> Int? {
            Int(String(decoding: block[range].prefix { $0 != 0 && $0 != 0x20 }, as: UTF8.self), radix: 8)
        }
        let sum = block.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 0x20 : Int($1.element)) }
        guard number(148..<156) == sum, let size = number(124..<136), size >= 0 else { return nil }
        name = String(decoding: block[..<100].prefix { $0 != 0 }, as: UTF8.self)
        self.size = size
    }

    /// - Parameter time: seconds since 1970.
    func bytes(time: Int64) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at place: Int) {
            for (offset, byte) in text.utf8.enumerated() { block[place + offset] = byte }
        }
        func octal(_ value: Int, digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
        }
        put(String(name.prefix(99)), at: 0)
        put(octal(0o600, digits: 7), at: 100)
        put(octal(0, digits: 7), at: 108)
        put(octal(0, digits: 7), at: 116)
        put(octal(size, digits: 11), at: 124)
        put(octal(Int(max(0, time)), digits: 11), at: 136)
        put("        ", at: 148)
        put("0", at: 156)
        put("ustar\u{0}00", at: 257)
        let sum = block.reduce(0) { $0 + Int($1) }
        put(octal(sum, digits: 6) + "\u{0}", at: 148)
        return block
    }
}

/// The variadic call under a name of its own.
private func openFile(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 { open(path, flags, mode) }

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    write(descriptor, bytes.baseAddress, bytes.count)
}

private func systemRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
    read(descriptor, bytes.baseAddress, bytes.count)
}
