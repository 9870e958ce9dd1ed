import FoundationEssentials
import HubStore
import JSONDocument
package import Model
import QueryLanguage

/// One page of the answer to a query.
package struct QueryPage: Sendable {
    /// A JSON array.
    package let body: [UInt8]
    /// The value of `x-ms-item-type`.
    package let itemType: String
    /// Goes on behind this page; nil at the end.
    package let continuation: String?
}

/// Where the next page begins. It names the last row that was looked at, so that rows which come or go meanwhile
/// neither hide nor repeat another.
struct QueryContinuation: Sendable, Hashable {
    /// The last row that was looked at.
    var key: IdentityKey?
    /// The job whose part it was, in queries of jobs.
    var job: String?
    /// Rows that were answered before.
    var answered = 0

    init() {}

    init(_ text: String) throws(HubError) {
        guard let data = Data(base64Encoded: text), let value = try? JSONValue(parsing: data),
            let answered = value["n"]?.int, answered >= 0
        else { throw HubError(.argumentInvalid, "x-ms-continuation is no token of this hub.") }
        self.answered = answered
        job = value["j"]?.string
        if let device = value["d"]?.string { key = IdentityKey(device: device, module: value["m"]?.string) }
    }

    var text: String {
        var value: JSONObject = ["n": JSONValue(answered)]
        if let key {
            value["d"] = .string(key.deviceID)
            if let module = key.moduleID { value["m"] = .string(module) }
        }
        if let job { value["j"] = .string(job) }
        return Data(JSONValue.object(value).bytes()).base64EncodedString()
    }
}

extension HubRegistry {
    static let queryPageSize = 100
    static let queryPageLimit = 1000
    /// Rows that are read at a time, so that one query does not keep a connection from others.
    static let readSize = 500
    /// Looks at the store that one page takes before it ends, perhaps short, with a token.
    static let searchLimit = 250

    /// Answers one page of a query over twins; it sees everything that was written before.
    ///
    /// - Throws: `HubError`: `argumentInvalid` with line and column of a mistake.
    package func query(
        _ text: String, pageSize: Int? = nil, continuation: String? = nil
    ) async throws(HubError) -> QueryPage {
        let query = try Self.parse(text)
        let start = try continuation.map { text throws(HubError) in try QueryContinuation(text) } ?? QueryContinuation()
        let size = Self.pageSize(pageSize)
        if query.source == .jobs { return try await jobParts(query, from: start, size: size) }
        if query.aggregates { return try await aggregate(query, from: start, size: size) }
        let (selection, filter) = (query.selection, TwinFilter(query.predicate))
        var page = PageBuilder(query: query, size: size, start: start)
        while !page.isFull, page.steps < Self.searchLimit {
            let step = page
            let (next, isLast) = try await read { [activity] database in
                var page = step
                page.steps += 1
                let found = try database.page(
                    of: selection, where: filter, after: page.place.key, limit: Self.readSize)
                for record in found.records {
                    page.add(record, activity: activity)
                    if page.isFull { return (page, false) }
                }
                page.place.key = found.next ?? page.place.key
                return (page, found.next == nil)
            }
            page = next
            if isLast { return page.finished(continues: false) }
        }
        return page.finished(continues: true)
    }

    /// What is none, as -1, means that the client does not care.
    static func pageSize(_ asked: Int?) -> Int {
        asked.map { $0 > 0 ? min($0, queryPageLimit) : queryPageSize } ?? queryPageSize
    }

    static func parse(_ text: String) throws(HubError) -> Query {
        do {
            return try Query(parsing: text)
        } catch {
            throw HubError(.argumentInvalid, "The query is invalid: \(error)")
        }
    }

    private func aggregate(
        _ query: Query, from start: QueryContinuation, size: Int
    ) async throws(HubError) -> QueryPage {
        let all: [JSONValue]
        if query.countsRowsOnly, let count = try await countInStore(query) {
            all = query.rows(counting: count)
        } else {
            var aggregation = Aggregation(query)
            try await eachRow(of: query) { row in aggregation.add(row) }
            all = aggregation.rows
        }
        let rows = all.dropFirst(start.answered)
        var next = start
        next.answered += min(size, rows.count)
        return QueryPage(
            body: JSONValue.array(Array(rows.prefix(size))).bytes(), itemType: query.itemType.rawValue,
            continuation: rows.count > size ? next.text : nil)
    }

    /// Calls `body` with every row that the query keeps.
    private func eachRow(of query: Query, _ body: (TwinRow) -> Void) async throws(HubError) {
        let (selection, filter) = (query.selection, TwinFilter(query.predicate))
        var last: IdentityKey?
        repeat {
            let after = last
            let (kept, next) = try await read { [activity] database in
                let found = try database.page(of: selection, where: filter, after: after, limit: Self.readSize)
                var kept: [IdentityRecord] = []
                for var record in found.records {
                    activity.complete(&record.identity)
                    if query.keeps(TwinRow(record)) { kept.append(record) }
                }
                return (kept, found.next)
            }
            for record in kept { body(TwinRow(record)) }
            last = next
        } while last != nil
    }

    /// How many rows the condition keeps; nil when the store alone cannot say.
    private func countInStore(_ query: Query) async throws(HubError) -> Int? {
        let (selection, filter) = (query.selection, TwinFilter(query.predicate))
        guard filter.isExact else { return nil }
        var count = 0
        var last: IdentityKey?
        repeat {
            let after = last
            let found = try await read { try $0.count(of: selection, where: filter, after: after) }
            count += found.count
            last = found.next
        } while last != nil
        return count
    }

    /// How many rows the query has.
    func count(_ query: Query) async throws(HubError) -> Int {
        guard query.source != .jobs else { return 0 }
        if query.countsRowsOnly { return query.rows(counting: 0).count }
        if query.aggregates {
            var aggregation = Aggregation(query)
            try await eachRow(of: query) { aggregation.add($0) }
            return aggregation.rows.count
        }
        if let count = try await countInStore(query) { return min(count, query.top ?? .max) }
        var count = 0
        try await eachRow(of: query) { _ in count += 1 }
        return min(count, query.top ?? .max)
    }
}

/// A page while it grows.
private struct PageBuilder: Sendable {
    let query: Query
    let size: Int
    var place: QueryContinuation
    var steps = 0
    private var rows = 0
    private var body: [UInt8] = [UInt8(ascii: "[")]

    init(query: Query, size: Int, start: QueryContinuation) {
        self.query = query
        self.size = size
        place = start
    }

    private var isExhausted: Bool { query.top.map { place.answered >= $0 } ?? false }
    var isFull: Bool { rows >= size || isExhausted }

    mutating func add(_ record: IdentityRecord, activity: ActivityLog) {
        var record = record
        activity.complete(&record.identity)
        place.key = record.identity.key
        let row = TwinRow(record)
        guard query.keeps(row) else { return }
        if rows > 0 { body.append(UInt8(ascii: ",")) }
        if query.selectsWholeRows {
            record.twin.appendServiceView(of: record.identity, to: &body)
        } else {
            body.append(contentsOf: query.project(row).bytes())
        }
        rows += 1
        place.answered += 1
    }

    func finished(continues: Bool) -> QueryPage {
        QueryPage(
            body: body + [UInt8(ascii: "]")], itemType: query.itemType.rawValue,
            continuation: continues && !isExhausted ? place.text : nil)
    }
}

extension Query {
    /// The narrowest set of rows that holds every row the query keeps.
    var selection: TwinSelection {
        let isOfModules = source == .modules
        if let narrow = TwinSelection(equalities, modules: isOfModules), narrow != .edgeDevices { return narrow }
        for case .contains(let path, .string(let scope)) in predicate.conjuncts
        where path.members == ["parentScopes"] && !isOfModules {
            return .children(scope)
        }
        return TwinSelection(equalities, modules: isOfModules) ?? (isOfModules ? .modules : .devices)
    }
}

extension TwinSelection {
    /// The narrowest selection that equalities allow; nil when none has an index.
    init?(_ equalities: [TargetCondition.Equality], modules: Bool) {
        var found: TwinSelection?
        for equality in equalities {
            guard let members = equality.path.members else { continue }
            switch (members.first, members.count) {
            case ("deviceId", 1):
                if let id = equality.value.string {
                    self = .device(id, modules: modules)
                    return
                }
            case ("tags", 2...):
                if let entry = TagEntry(steps: members.dropFirst(), equals: equality.value) {
                    found = .tagged(entry, modules: modules)
                }
            case ("configurations", 3) where members[2] == "status":
                guard let status = equality.value.string, ["Applied", "Targeted"].contains(status) else { continue }
                found = .configured(members[1], applied: status == "Applied", modules: modules)
            case ("capabilities", 2) where equality.value == true && !modules:
                if found == nil { found = .edgeDevices }
            default: continue
            }
        }
        guard let found else { return nil }
        self = found
    }
}
