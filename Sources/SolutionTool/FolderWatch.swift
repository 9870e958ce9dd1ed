package import SolutionTemplate

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Says when something below some folders has changed, by the kernel's own notice.
package final class FolderWatch: Sendable {
    private let descriptor: Int32

    private static let events = UInt32(
        IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF)
    /// Folders that change with every build, or hold nothing of a module.
    private static let skipped: Set<String> = [BuildContext.stateFolderName, ".git", "node_modules", "__pycache__"]
    private static let limit = 8192

    private let exception: String

    /// - Parameters:
    ///   - folders: absolute; watched with all below them.
    ///   - exception: a folder that is written by the work itself.
    /// - Throws: `missingFile` when the kernel gives no more watches.
    package init(_ folders: [String], except exception: String) throws(SolutionError) {
        self.exception = exception
        descriptor = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
        guard descriptor >= 0 else { throw SolutionError(.missingFile, "the kernel watches no more files") }
        var count = 0
        for folder in folders { add(folder, &count) }
        guard count > 0 else { throw SolutionError(.missingFile, "there is no folder to watch") }
    }

    deinit { close(descriptor) }

    private func add(_ folder: String, _ count: inout Int) {
        guard count < Self.limit, folder != exception, inotify_add_watch(descriptor, folder, Self.events) >= 0 else {
            return
        }
        count += 1
        for name in LocalFiles.names(in: folder) ?? [] where !Self.skipped.contains(name) {
            let path = "\(folder)/\(name)"
            if LocalFiles.status(path, followingLinks: false)?.kind == .folder { add(path, &count) }
        }
    }

    /// Waits for the next change, and until nothing more has changed for a moment: editors write in several steps.
    ///
    /// - Returns: when the first change was seen; nil when the task was cancelled.
    package func change() async -> ContinuousClock.Instant? {
        while !Task.isCancelled {
            if await isReadable(within: 200), drain() {
                let seen = ContinuousClock.now
                while await isReadable(within: 40), drain() {}
                return seen
            }
        }
        return nil
    }

    /// Waits on a thread of its own, not in the cooperative pool.
    private func isReadable(within milliseconds: Int32) async -> Bool {
        let descriptor = self.descriptor
        return await withCheckedContinuation { continuation in
            WaitingThread.run {
                var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                continuation.resume(returning: poll(&entry, 1, milliseconds) > 0)
            }
        }
    }

    /// - Returns: whether one of the changes matters.
    private func drain() -> Bool {
        var matters = false
        withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 8) { buffer in
            while true {
                let count = read(descriptor, buffer.baseAddress, buffer.count)
                guard count > 0 else { return }
                var place = 0
                let head = MemoryLayout<inotify_event>.size
                while place + head <= count {
                    let event = buffer.loadUnaligned(fromByteOffset: place, as: inotify_event.self)
                    let name = String(
                        decoding: UnsafeRawBufferPointer(buffer)[
                            (place + head)..<min(count, place + head + Int(event.len))
                        ]
                        .prefix { $0 != 0 }, as: UTF8.self)
                    // Backups and swap files of editors, and the bytecode of Python.
                    if !name.hasSuffix("~"), !name.hasSuffix(".swp"), !name.hasSuffix(".swx"), !name.hasSuffix(".pyc"),
                        name != "4913", !Self.skipped.contains(name), name != Paths.name(of: exception)
                    {
                        matters = true
                    }
                    place += head + Int(event.len)
                }
            }
        }
        return matters
    }
}
