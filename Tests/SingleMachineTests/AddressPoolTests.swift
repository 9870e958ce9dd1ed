import Testing

@testable import SingleMachine

@Suite struct AddressPoolTests {
    private let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

    private func routes(_ lines: String...) -> String { head + lines.joined(separator: "\n") }

    @Test func `Without routes the start chooses the pool`() throws {
        #expect(try AddressPool.free(startingAt: 0, routes: head).all == "10.128.0.0/20")
        #expect(try AddressPool.free(startingAt: 5, routes: head).all == "10.128.80.0/20")
        #expect(try AddressPool.free(startingAt: 2047, routes: head).all == "10.255.240.0/20")
    }

    @Test func `Bridge and networks lie in the pool and do not meet`() throws {
        let pool = try AddressPool.free(startingAt: 0, routes: head)
        #expect(pool.bridge == "10.128.0.1/24")
        #expect(pool.networks == "10.128.8.0/21")
    }

    @Test func `A narrow route inside a pool takes it`() throws {
        // 10.128.3.0/24
        let taken = routes("eth1\t0003800A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0")
        #expect(try AddressPool.free(startingAt: 0, routes: taken).all == "10.128.16.0/20")
    }

    @Test func `A wide route takes its whole range`() throws {
        // 10.0.0.0/8
        let taken = routes("vpn\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0")
        #expect(try AddressPool.free(startingAt: 0, routes: taken).all == "172.16.0.0/20")
    }

    @Test func `The default route takes nothing`() throws {
        let taken = routes("eth0\t00000000\t010000C0\t0003\t0\t0\t0\t00000000\t0\t0\t0")
        #expect(try AddressPool.free(startingAt: 0, routes: taken).all == "10.128.0.0/20")
    }

    @Test func `A pool knows its addresses, and survives being written down`() throws {
        let pool = try #require(AddressPool(parsing: "10.128.16.0/20"))
        #expect(pool.contains("10.128.16.1"))
        #expect(pool.contains("10.128.31.255"))
        #expect(!pool.contains("10.128.32.0"))
        #expect(!pool.contains("junk"))
        #expect(AddressPool(parsing: pool.all)?.base == pool.base)
        #expect(AddressPool(parsing: "10.128.16.0/24") == nil)
    }
}
