import EdgeStore
import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A folder of one test, removed with it.
final class TemporaryFolder: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/edgestore-XXXXXX\0".utf8CString)
        path = template.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, let made = mkdtemp(start) else { fatalError("no temporary folder") }
            return String(cString: made)
        }
    }

    deinit {
        for file in FileManager.default.enumerator(atPath: path)?.compactMap({ $0 as? String }) ?? [] {
            unlink("\(path)/\(file)")
        }
        rmdir(path)
    }
}

/// Time that passes when a test says so.
final class VirtualTime: Sendable {
    private let milliseconds = Mutex((wall: Int64(1_800_000_000_000), monotonic: Int64(0)))

    func pass(seconds: Int64) {
        milliseconds.withLock { ($0.wall, $0.monotonic) = ($0.wall + seconds * 1_000, $0.monotonic + seconds * 1_000) }
    }
    func jump(seconds: Int64) { milliseconds.withLock { $0.wall += seconds * 1_000 } }

    var clock: StoreClock {
        StoreClock(wall: { self.milliseconds.withLock(\.wall) }, monotonic: { self.milliseconds.withLock(\.monotonic) })
    }
}
