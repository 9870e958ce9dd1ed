import Crypto
import DockerEngine
import NIOCore
import SolutionTemplate
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The files that go to the engine for one image, found but not read.
struct BuildContext: Sendable {
    struct Entry: Sendable {
        /// Relative to the context.
        let path: String
        let status: LocalFiles.Status
        let linkTarget: String
    }

    /// Absolute.
    let folder: String
    /// In the order of their paths.
    let entries: [Entry]
    /// The name of the Dockerfile inside the context that is sent.
    let dockerfileName: String
    let dockerfile: [UInt8]
    /// Whether the Dockerfile lies outside of the context and travels along.
    let carriesDockerfile: Bool

    /// The folder in which builds are remembered; a context never takes it along.
    static let stateFolderName = ".hedgerow"

    /// Looks through a context folder.
    ///
    /// - Parameters:
    ///   - folder: absolute.
    ///   - dockerfile: absolute.
    ///   - module: what names both, in a file of `moduleFolder`.
    /// - Throws: `missingFile`, with the place of the name.
    init(
        folder: String, dockerfile: String, of module: ModuleDescription, platform: String, in moduleFolder: String
    ) throws(SolutionError) {
        self.folder = folder
        func missing(_ member: [String], _ reason: String) -> SolutionError {
            SolutionError(
                .missingFile, reason, file: Paths.join(moduleFolder, "module.json"),
                place: module.place(of: member))
        }
        guard LocalFiles.isFolder(folder) else {
            throw missing(["image", "contextPath"], "\"contextPath\" leads to no folder: \(folder)")
        }
        do {
            self.dockerfile = try LocalFiles.read(dockerfile)
        } catch {
            throw missing(
                ["image", "tag", "platforms", platform],
                "the Dockerfile of the platform \"\(platform)\" cannot be read: \(dockerfile): \(error)")
        }
        let inside = Paths.relative(dockerfile, inside: folder)
        carriesDockerfile = inside == nil
        dockerfileName = inside ?? ".dockerfile.hedgerow"
        var patterns = IgnorePatterns()
        if let text = try? LocalFiles.read(folder + "/.dockerignore") {
            patterns = IgnorePatterns(String(decoding: text, as: UTF8.self))
            patterns.add("!.dockerignore")
            if let inside { patterns.add("!" + inside) }
        }
        var entries: [Entry] = []
        try Self.walk(folder, "", patterns, into: &entries)
        self.entries = entries
    }

    private static func walk(
        _ root: String, _ inner: String, _ patterns: IgnorePatterns, into entries: inout [Entry]
    ) throws(SolutionError) {
        let folder = inner.isEmpty ? root : "\(root)/\(inner)"
        guard let names = LocalFiles.names(in: folder) else {
            throw SolutionError(.missingFile, "the folder cannot be read", file: folder)
        }
        for name in names where name != stateFolderName {
            let path = inner.isEmpty ? name : "\(inner)/\(name)"
            guard let status = LocalFiles.status("\(root)/\(path)", followingLinks: false) else { continue }
            let ignored = patterns.ignores(path)
            switch status.kind {
            case .other: continue
            case .folder:
                if !ignored { entries.append(Entry(path: path, status: status, linkTarget: "")) }
                if !ignored || patterns.hasExceptions { try walk(root, path, patterns, into: &entries) }
            case .file:
                if !ignored { entries.append(Entry(path: path, status: status, linkTarget: "")) }
            case .link:
                if !ignored {
                    let target = LocalFiles.linkTarget("\(root)/\(path)") ?? ""
                    entries.append(Entry(path: path, status: status, linkTarget: target))
                }
            }
        }
    }
}

extension BuildContext {
    /// A digest of what the file system says of the files: the same as long as nobody touched them.
    func statusDigest() -> String {
        var hash = SHA256()
        hash.update(data: dockerfile)
        for entry in entries {
            let status = entry.status
            // A folder's own times move when an ignored file comes or goes.
            let times =
                status.kind == .folder ? "" : " \(status.size) \(status.inode) \(status.modified) \(status.changed)"
            hash.update(
                data: Array("\n\(entry.path)\u{0}\(status.kind) \(status.mode)\(times) \(entry.linkTarget)".utf8))
        }
        return hash.finalize().hexadecimal
    }

    /// The newest time at which the file system saw a change among the files, in nanoseconds since 1970.
    var newestChange: Int {
        entries.lazy.filter { $0.status.kind != .folder }.map { max($0.status.modified, $0.status.changed) }.max() ?? 0
    }

    /// A digest of what is in the files.
    ///
    /// - Parameter isPortable: leaves out what a version control does not keep, such as whether others may read a file.
    /// - Throws: `missingFile` for a file that cannot be read.
    func contentDigest(isPortable: Bool = false) throws(SolutionError) -> String {
        var hash = SHA256()
        hash.update(data: Array("\(dockerfileName) \(dockerfile.count)\n".utf8))
        hash.update(data: dockerfile)
        for entry in entries {
            let mode =
                isPortable ? (entry.status.kind == .file && entry.status.mode & 0o100 != 0 ? 1 : 0) : entry.status.mode
            if isPortable, entry.status.kind == .folder { continue }
            hash.update(
                data: Array(
                    "\n\(entry.path)\u{0}\(entry.status.kind) \(mode) \(entry.status.size) \(entry.linkTarget)\n"
                        .utf8))
            guard entry.status.kind == .file else { continue }
            let reader = try FileReader(path: "\(folder)/\(entry.path)")
            while let chunk = try reader.next() {
                chunk.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
            }
        }
        return hash.finalize().hexadecimal
    }

    /// How many bytes the context has as a tar, roughly.
    var estimatedSize: Int { entries.reduce(dockerfile.count + 4096) { $0 + $1.status.size + 1024 } }

    /// The context as a tar, in pieces.
    func archive() -> BuildArchive { BuildArchive(context: self) }
}

/// Reads a file in pieces.
final class FileReader {
    private let descriptor: SystemPackage.FileDescriptor
    private let path: String
    static let pieceSize = 256 << 10

    init(path: String) throws(SolutionError) {
        self.path = path
        do {
            descriptor = try SystemPackage.FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
        } catch {
            throw SolutionError(.missingFile, "cannot be read: \(error)", file: path)
        }
    }

    deinit { try? descriptor.close() }

    /// The next piece; nil at the end.
    func next() throws(SolutionError) -> ByteBuffer? {
        var buffer = ByteBuffer()
        do {
            try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.pieceSize) { bytes in
                try descriptor.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes.prefix(Self.pieceSize)))
            }
        } catch {
            throw SolutionError(.missingFile, "cannot be read: \(error)", file: path)
        }
        return buffer.readableBytes > 0 ? buffer : nil
    }
}

/// A build's context as a tar that is made while it is sent.
struct BuildArchive: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    typealias Failure = any Error

    let context: BuildContext

    func makeAsyncIterator() -> Iterator { Iterator(context: context) }

    struct Iterator: AsyncIteratorProtocol {
        let context: BuildContext
        private var place = 0
        private var open: (reader: FileReader, left: Int, size: Int)?
        private var ended = false

        init(context: BuildContext) { self.context = context }

        mutating func next() async throws -> ByteBuffer? { try piece() }

        /// Files are local and their pieces small, so reading them here holds up nobody for long.
        private mutating func piece() throws(SolutionError) -> ByteBuffer? {
            if let open {
                if open.left > 0, var chunk = try open.reader.next() {
                    // A file that grew meanwhile must not break the archive.
                    if chunk.readableBytes > open.left {
                        chunk = chunk.getSlice(at: chunk.readerIndex, length: open.left) ?? chunk
                    }
                    self.open?.left -= chunk.readableBytes
                    return chunk
                }
                var padding = ByteBuffer()
                padding.writeRepeatingByte(0, count: open.left)
                TarWriter.padding(after: open.size, to: &padding)
                self.open = nil
                return padding
            }
            var buffer = ByteBuffer()
            while place < context.entries.count, buffer.readableBytes < FileReader.pieceSize {
                let entry = context.entries[place]
                place += 1
                let seconds = entry.status.modified / 1_000_000_000
                switch entry.status.kind {
                case .folder:
                    TarWriter.write(
                        TarWriter.Entry(
                            path: entry.path + "/", kind: .folder, mode: entry.status.mode, modified: seconds),
                        to: &buffer)
                case .link:
                    TarWriter.write(
                        TarWriter.Entry(
                            path: entry.path, kind: .symbolicLink, mode: 0o777, modified: seconds,
                            linkTarget: entry.linkTarget), to: &buffer)
                case .file:
                    TarWriter.write(
                        TarWriter.Entry(
                            path: entry.path, mode: entry.status.mode, size: entry.status.size, modified: seconds),
                        to: &buffer)
                    if entry.status.size > 0 {
                        let reader = try FileReader(path: "\(context.folder)/\(entry.path)")
                        open = (reader, entry.status.size, entry.status.size)
                        return buffer
                    }
                case .other: break
                }
            }
            if place == context.entries.count, !ended {
                ended = true
                if context.carriesDockerfile {
                    TarWriter.write(file: context.dockerfileName, context.dockerfile, to: &buffer)
                }
                TarWriter.end(&buffer)
            }
            return buffer.readableBytes > 0 ? buffer : nil
        }

        /// The whole archive at once.
        mutating func whole() throws(SolutionError) -> ByteBuffer {
            var all = ByteBuffer()
            while let next = try piece() { all.writeImmutableBuffer(next) }
            return all
        }
    }
}

extension Sequence<UInt8> {
    /// Two digits a byte, in lower case.
    var hexadecimal: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
