/// 4096 addresses that nothing on this machine uses: the first 256 for the engine's bridge, the upper half for networks.
struct AddressPool: Sendable {
    /// As a number; its last twelve bits are zero.
    let base: UInt32

    var all: String { "\(text(base))/20" }
    var bridge: String { "\(text(base + 1))/24" }
    var networks: String { "\(text(base + 2048))/21" }

    init(base: UInt32) { self.base = base }

    /// Reads what ``all`` gave.
    init?(parsing text: String) {
        let parts = text.split(separator: "/")
        guard parts.count == 2, parts[1] == "20", let base = Self.number(parts[0]) else { return nil }
        self.base = base
    }

    /// - Parameter address: as four decimal numbers.
    func contains(_ address: String) -> Bool {
        Self.number(address[...]).map { $0 & 0xFFFF_F000 == base } ?? false
    }

    private static func number(_ text: Substring) -> UInt32? {
        let bytes = text.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        guard bytes.count == 4 else { return nil }
        var result: UInt32 = 0
        for byte in bytes {
            guard let byte else { return nil }
            result = result << 8 | UInt32(byte)
        }
        return result
    }

    private func text(_ address: UInt32) -> String {
        [24, 16, 8, 0].map { String(address >> UInt32($0) & 255) }.joined(separator: ".")
    }

    /// The private ranges to choose from, as number and count of pools: 10.128.0.0/9, then 172.16.0.0/12, 192.168.0.0/16.
    private static let ranges: [(first: UInt32, count: UInt32)] = [
        (0x0A80_0000, 2048), (0xAC10_0000, 256), (0xC0A8_0000, 16),
    ]

    /// A pool that no route of this machine meets.
    ///
    /// - Parameter start: where to begin, so that instances that start at the same time do not choose the same.
    static func free(startingAt start: Int, routes: String? = StateFolder.read("/proc/net/route")) throws(UpFailure)
        -> AddressPool
    {
        let taken = (routes ?? "").split(separator: "\n").dropFirst().compactMap(route)
        for range in ranges {
            for offset in 0..<range.count {
                let index = (UInt32(truncatingIfNeeded: start) &+ offset) % range.count
                let pool = AddressPool(base: range.first + index << 12)
                let meets = taken.contains { route in
                    let mask = route.mask & 0xFFFF_F000
                    return route.destination & mask == pool.base & mask
                }
                if !meets { return pool }
            }
        }
        throw UpFailure("no private network addresses are free on this machine for a private engine")
    }

    /// Destination and mask of a line of /proc/net/route; nil for the default route and for what cannot be read.
    private static func route(_ line: Substring) -> (destination: UInt32, mask: UInt32)? {
        let fields = line.split(whereSeparator: \.isWhitespace)
        guard fields.count > 7, let destination = UInt32(fields[1], radix: 16), let mask = UInt32(fields[7], radix: 16),
            mask != 0
        else { return nil }
        return (destination.byteSwapped, mask.byteSwapped)
    }
}
