import Testing

@testable import HubProtocol

@Suite struct ConnectionStringTests {
    @Test func `Strings of policies, devices and modules are read and written`() throws {
        for text in [
            "HostName=hub.lan;SharedAccessKeyName=iothubowner;SharedAccessKey=AQIDBA==",
            "HostName=hub.lan;DeviceId=pi;SharedAccessKey=AQIDBA==",
            "HostName=hub.lan;DeviceId=pi;ModuleId=probe;SharedAccessKey=AQIDBA==",
        ] {
            #expect(try ConnectionString(parsing: text).text == text)
        }
    }

    @Test(arguments: [
        ("SharedAccessKeyName=a;SharedAccessKey=AQID", "HostName"), ("HostName=h;DeviceId=d", "SharedAccessKey"),
        ("HostName=h;SharedAccessKey=AQID", "neither"), ("HostName=h;DeviceId=d;SharedAccessKey=A*", "base64"),
        ("HostName=h;HostName=i;DeviceId=d;SharedAccessKey=AQID", "twice"), ("nonsense", "'='"), ("", "HostName"),
    ]) func `What is missing is named, and the key is never shown`(text: String, word: String) {
        #expect {
            try ConnectionString(parsing: text)
        } throws: { error in
            "\(error)".contains(word) && !"\(error)".contains("A*")
        }
    }
}
