import HubProtocol
import Model
import NIOCore
import Testing

@Suite struct DeviceTopicsTests {
    private let device = DeviceTopics(IdentityKey(device: "pi"))
    private let module = DeviceTopics(IdentityKey(device: "pi", module: "Sunshine"))

    private func upward(_ topics: DeviceTopics, _ topic: String) -> UpwardTopic? {
        topics.upward(ByteBuffer(string: topic))
    }

    @Test(arguments: [
        ("devices/pi/messages/events/", ""), ("devices/pi/messages/events", ""),
        ("devices/pi/messages/events/$.ct=a&b", "$.ct=a&b"), ("devices/pi/messages/events/a=b/", "a=b"),
    ])
    func `Telemetry is told by its topic, and the rest is the property bag`(topic: String, bag: String) {
        #expect(upward(device, topic) == .telemetry(bag: ByteBuffer(string: bag)))
        #expect(upward(module, topic) == nil)
    }

    @Test(arguments: [
        "devices/pi/messages/eventsX", "devices/other/messages/events/", "devices/pi/modules/Sunshine/messages/events/",
        "$iothub/twin/GET/", "$iothub/twin/PATCH/properties/reported/?$rid=1&$version=x", "",
        "$iothub/methods/res/x/?$rid=1",
    ])
    func `What is not a device's own topic is none`(topic: String) {
        #expect(upward(device, topic) == nil)
    }

    @Test func `The request id is kept as it is written, wherever it stands`() {
        #expect(upward(device, "$iothub/twin/GET/?$rid=a%20b") == .twinGet(requestID: "a%20b"))
        #expect(
            upward(device, "$iothub/twin/PATCH/properties/reported/?$version=4&$rid=x")
                == .reported(requestID: "x", expectedVersion: 4))
        #expect(upward(device, "$iothub/twin/GET/?%24rid=7") == .twinGet(requestID: "7"))
        #expect(upward(module, "$iothub/methods/res/200/?$rid=c1") == .methodAnswer(status: 200, requestID: "c1"))
    }

    @Test func `What a hub writes, a client reads`() {
        #expect(
            device.downward(DeviceTopics.twinAnswerTopic(status: 204, requestID: "q", version: 9))
                == .twinAnswer(status: 204, requestID: "q", version: 9))
        #expect(device.downward(DeviceTopics.desiredPropertiesTopic(version: 3)) == .desiredProperties(version: 3))
        #expect(
            module.downward(DeviceTopics.methodTopic(name: "restart", requestID: "1"))
                == .method(name: "restart", requestID: "1"))
        let bag = ByteBuffer(string: "a=b")
        #expect(module.downward(module.inputTopic(name: "in1", bag: bag)) == .input(name: "in1", bag: bag))
        guard case .cloudToDevice(let received) = device.downward(device.cloudToDeviceTopic(bag: bag)) else {
            Issue.record("not read")
            return
        }
        let properties = MessageProperties(bag: received)
        #expect(properties.system[.to] == "/devices/pi/messages/devicebound")
        #expect(properties["A"] == "b")
    }

    @Test func `Only the known filters can be had, and inputs by modules only`() {
        for subscription in DeviceSubscription.allCases {
            #expect(module.subscription(module.filter(subscription)) == subscription)
        }
        #expect(module.subscription("devices/pi/modules/Sunshine/#") == .inputs)
        #expect(device.subscription("devices/pi/messages/deviceBound/#") == .cloudToDevice)
        #expect(device.subscription("devices/pi/inputs/#") == nil)
        for filter in ["#", "+", "devices/+/messages/devicebound/#", "devices/other/messages/devicebound/#", "$SYS/#"] {
            #expect(device.subscription(filter) == nil)
        }
    }
}

@Suite struct MessagePropertiesTests {
    @Test(arguments: [
        ("$.mid=1&a=b", "1", "b" as String?), ("%24.mid=1&a=", "1", ""), ("?a&$.mid=1", "1", nil),
        ("a=x%20y&%24%2Emid=1", "1", "x y"), ("$.mid=1&a=1%2B1+2", "1", "1+1+2"), ("$.mid=1&a=%zz%", "1", "%zz%"),
        ("$.unknown=3&$.mid=1&A=1&a=2", "1", "2"), ("/?$.mid=1&a=k=v/", "1", "k=v"),
    ])
    func `A bag is read as SDKs write it`(bag: String, id: String, value: String?) {
        let properties = MessageProperties(bag: ByteBuffer(string: bag))
        #expect(properties.system == [.messageID: id])
        #expect(properties.application.count == 1)
        #expect(properties["a"] == .some(value))
    }

    @Test func `What is written is read back, and holds nothing that an SDK splits at`() {
        let properties = MessageProperties(
            system: [.contentType: "application/json;charset=utf-8", .to: "/devices/ä/x"],
            application: [
                .init(name: "a=b/c", value: "1&2 3"), .init(name: "none", value: nil), .init(name: "e", value: ""),
            ])
        let bag = properties.bag()
        #expect(MessageProperties(bag: bag) == properties)
        let text = String(buffer: bag)
        #expect(!text.contains("/") && !text.contains(" ") && !text.contains("+"))
        #expect(text.contains("&none&e="))
    }

    @Test func `The size counts values of system properties, names and values of the others`() {
        let properties = MessageProperties(system: [.messageID: "12345"], application: [.init(name: "ab", value: "c")])
        #expect(properties.size == 8)
    }

    @Test func `No bytes make a bag unreadable`() {
        var state: UInt64 = 7
        for _ in 0..<2000 {
            var bytes: [UInt8] = []
            for _ in 0..<40 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes.append(state >> 60 < 6 ? Array("%&=/?$".utf8)[Int((state >> 40) % 6)] : UInt8(state >> 56))
            }
            let properties = MessageProperties(bag: ByteBuffer(bytes: bytes))
            #expect(MessageProperties(bag: properties.bag()).system == properties.system)
        }
    }
}
