import NIOCore
import SystemPackage

/// A file in pieces, read when the engine is ready for the next one.
struct ArchivePieces: AsyncSequence, Sendable {
    private let descriptor: SystemPackage.FileDescriptor

    init(of path: String) throws(UpFailure) {
        do {
            descriptor = try SystemPackage.FileDescriptor.open(path, .readOnly, options: .closeOnExec)
        } catch {
            throw UpFailure("cannot read \(path): \(error)")
        }
    }

    func close() { try? descriptor.close() }

    struct AsyncIterator: AsyncIteratorProtocol {
        let descriptor: SystemPackage.FileDescriptor

        mutating func next() async throws -> ByteBuffer? {
            var piece = ByteBuffer()
            let count = try piece.writeWithUnsafeMutableBytes(minimumWritableBytes: 1 << 20) {
                try descriptor.read(into: UnsafeMutableRawBufferPointer(rebasing: $0.prefix(1 << 20)))
            }
            return count > 0 ? piece : nil
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(descriptor: descriptor) }
}
