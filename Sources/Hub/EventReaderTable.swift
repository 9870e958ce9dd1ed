import Model
import Synchronization

/// Who reads which partition for which group, so that a reader with an epoch is the only one (hub.md, section 7.4).
final class EventReaderTable: Sendable {
    private struct Place: Hashable {
        let partition: Int
        /// Names of groups have no case.
        let group: String
    }

    private struct Reader {
        let id: UInt64
        let epoch: Int64?
        let onStolen: @Sendable () -> Void
    }

    private struct State {
        var readers: [Place: [Reader]] = [:]
        var lastID: UInt64 = 0
    }

    private let state = Mutex(State())

    /// Takes a place; others may lose theirs.
    ///
    /// - Parameter onStolen: called once, when another takes the place over.
    /// - Returns: what to give to `leave`.
    /// - Throws: `HubError`: `linkCreationConflict` when a reader with a higher epoch, or any for a reader without, is there.
    func take(
        partition: Int, group: String, epoch: Int64?, onStolen: @escaping @Sendable () -> Void
    ) throws(HubError) -> UInt64 {
        let place = Place(partition: partition, group: group.lowercased())
        let result: (id: UInt64, losers: [Reader])? = state.withLock { state in
            let present = state.readers[place] ?? []
            let highest = present.compactMap(\.epoch).max()
            if let highest, epoch.map({ $0 < highest }) ?? true { return nil }
            state.lastID += 1
            let reader = Reader(id: state.lastID, epoch: epoch, onStolen: onStolen)
            state.readers[place] = epoch == nil ? present + [reader] : [reader]
            return (reader.id, epoch == nil ? [] : present)
        }
        guard let result else {
            throw HubError(
                .linkCreationConflict, "A reader with a higher epoch reads partition \(partition) for '\(group)'.")
        }
        for loser in result.losers { loser.onStolen() }
        return result.id
    }

    func leave(_ id: UInt64, partition: Int, group: String) {
        let place = Place(partition: partition, group: group.lowercased())
        state.withLock { state in
            let left = (state.readers[place] ?? []).filter { $0.id != id }
            state.readers[place] = left.isEmpty ? nil : left
        }
    }
}
