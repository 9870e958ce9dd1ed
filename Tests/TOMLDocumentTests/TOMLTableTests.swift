import Testing

@testable import TOMLDocument

@Suite struct TOMLTableTests {
    @Test func `A device configuration is read with its tables, texts and numbers`() throws {
        let document = try TOMLTable(
            parsing: #"""
                # the device
                hostname = "gateway.lan"
                trust_bundle_cert = 'file:///etc/a b.pem'   # literal

                [provisioning]
                source = "manual"
                authentication = { method = "sas", device_id_pk = { value = "a=b" } }

                [agent.config]
                image = "mcr.microsoft.com/azureiotedge-agent:1.5"
                createOptions = { HostConfig = { Binds = ["/a:/b", "/c:/d",] } }

                [agent.env]
                "Runtime.Log-Level" = "debug"
                limit = 1_000
                mask = 0xFF
                ratio = 2.5e-1
                since = 2024-05-01 10:00:00Z

                [[principal]]
                name = "one"
                uid = 1
                [[principal]]
                name = "two"
                """#)
        #expect(document.at("hostname")?.string == "gateway.lan")
        #expect(document.at("provisioning", "authentication", "device_id_pk", "value")?.string == "a=b")
        #expect(document.at("agent", "config", "createOptions", "HostConfig", "Binds")?.array?.count == 2)
        #expect(document.at("agent", "env", "Runtime.Log-Level")?.string == "debug")
        #expect(document.at("agent", "env", "limit")?.integer == 1000)
        #expect(document.at("agent", "env", "mask")?.integer == 255)
        #expect(document.at("agent", "env", "ratio") == .double(0.25))
        #expect(document.at("agent", "env", "since") == .date("2024-05-01 10:00:00Z"))
        #expect(document.at("principal")?.array?.map { $0.table?["name"]?.string } == ["one", "two"])
    }

    @Test func `Texts over several lines keep their lines`() throws {
        let document = try TOMLTable(
            parsing:
                "a = \"\"\"\none \\\n   two\n\"three\" \"\"\"\nb = '''\n-----BEGIN-----\nx\\y\n'''\nc.d = 1\nc.e = 2")
        #expect(document["a"]?.string == "one two\n\"three\" ")
        #expect(document["b"]?.string == "-----BEGIN-----\nx\\y\n")
        #expect(document.at("c", "e")?.integer == 2)
    }

    @Test(arguments: [
        ("a = ", 1, 5), ("a = 1\nb 2", 2, 3), ("a = \"x", 1, 5), ("[a\nb=1", 1, 3), ("a = 1\na = 2", 2, 1),
        ("[a]\n[a]", 2, 1), ("a = [1, 2", 1, 10), ("a = hello", 1, 5), ("a = 01", 1, 5), ("a = 1 2", 1, 7),
        ("a = \"\\q\"", 1, 7), ("a = {b = 1}\na.c = 2", 2, 1),
    ]) func `A malformed text is refused with line and column`(text: String, line: Int, column: Int) {
        #expect {
            try TOMLTable(parsing: text)
        } throws: { error in
            guard let error = error as? TOMLSyntaxError else { return false }
            return (error.line, error.column) == (line, column)
        }
    }

    @Test func `Any text is read or refused, never more`() {
        let alphabet = Array("[]{}=\"'\\.,# \n\tab01-_:eTruxn")
        for _ in 0..<20_000 {
            let text = String((0..<Int.random(in: 0..<40)).map { _ in alphabet[Int.random(in: 0..<alphabet.count)] })
            _ = try? TOMLTable(parsing: text)
        }
    }
}
