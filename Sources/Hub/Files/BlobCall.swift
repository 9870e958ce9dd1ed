import FoundationEssentials
import NIOHTTP1
import Transport

/// A request about one file: `/uploads/{device}/{name}`, as clients of blob stores make it.
struct BlobCall: Sendable, Equatable {
    enum Operation: Sendable, Equatable {
        case put
        case putBlock(id: String)
        case putBlockList
        case get
        case head
        case remove
    }

    let device: String
    let blob: String
    /// Nil for one that is not offered.
    let operation: Operation?

    /// Nil when the path is another's.
    init?(_ method: HTTPMethod, _ path: [String], _ query: [(name: String, value: String)]) {
        guard path.count >= 3, path[0] == FileDesk.container else { return nil }
        device = path[1]
        blob = path[2...].joined(separator: "/")
        func value(_ name: String) -> String? { query.first { $0.name == name }?.value }
        operation =
            switch (method, value("comp")) {
            case (.PUT, nil): .put
            case (.PUT, "block"):
                value("blockid").flatMap { $0.isEmpty || $0.utf8.count > 256 ? nil : .putBlock(id: $0) }
            case (.PUT, "blocklist"): .putBlockList
            case (.GET, nil): .get
            case (.HEAD, nil): .head
            case (.DELETE, nil): .remove
            default: nil
            }
    }

    /// The ids of a block list, in order: what stands in the elements Latest, Uncommitted and Committed.
    ///
    /// - Returns: nil for what is no such document.
    static func blocks(_ document: some Sequence<UInt8>) -> [String]? {
        guard let text = String(validating: Array(document), as: UTF8.self),
            let start = text.firstRange(of: "<BlockList")
        else { return nil }
        var rest = text[start.upperBound...].drop { $0 != ">" }.dropFirst()
        var blocks: [String] = []
        while let open = rest.firstIndex(of: "<") {
            let element = rest[rest.index(after: open)...]
            guard let close = element.firstIndex(of: ">") else { return nil }
            let name = String(element[..<close])
            if name == "/BlockList" { return blocks }
            guard ["Latest", "Uncommitted", "Committed"].contains(name),
                let end = element.firstRange(of: "</\(name)>"), end.lowerBound > close
            else { return nil }
            let id = element[element.index(after: close)..<end.lowerBound]
            blocks.append(id.trimming { $0.isWhitespace }.replacing("&amp;", with: "&"))
            rest = element[end.upperBound...]
        }
        return nil
    }

    /// The bytes that a header asks for, `bytes=0-99` or `bytes=100-`; nil for all, and for what is no range.
    static func range(_ header: String?, of size: Int64) -> Range<Int64>? {
        guard let header, header.hasPrefix("bytes=") else { return nil }
        let parts = header.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let first = Int64(parts[0]), first >= 0, first < size else { return nil }
        let last = Int64(parts[1]) ?? size - 1
        guard last >= first else { return nil }
        return first..<(min(last, size - 1) + 1)
    }
}

extension Substring {
    fileprivate func trimming(_ isNothing: (Character) -> Bool) -> String {
        var rest = drop(while: isNothing)
        while let last = rest.last, isNothing(last) { rest.removeLast() }
        return String(rest)
    }
}
