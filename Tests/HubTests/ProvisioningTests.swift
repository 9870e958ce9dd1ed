import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import JSONDocument
import Model
import NIOCore
import NIOHTTP1
import PKI
import Telemetry
import Testing
import Transport

@testable import Hub

@Suite(.timeLimit(.minutes(5))) struct ProvisioningTests {
    /// A hub with its provisioning service, asked without sockets.
    private struct Bench {
        let hub: HubBench
        let desk: ProvisioningDesk
        var responder: ProvisioningResponder { ProvisioningResponder(desk: desk) }

        struct Answer {
            let status: Int
            let headers: HTTPHeaders
            let json: JSONValue
        }

        @discardableResult
        func send(
            _ method: HTTPMethod, _ target: String, _ body: JSONValue? = nil, ifMatch: String? = nil,
            policy: String = "iothubowner", token: String? = nil, certificates: [[UInt8]] = [],
            headers: [(String, String)] = []
        ) async throws -> Answer {
            let parsed = try #require(HTTPTarget(parsing: target))
            var all = HTTPHeaders(headers)
            if certificates.isEmpty {
                let key = hub.registry.policies[policy]?.primaryKey ?? ""
                let own = try SASToken.sign(
                    resource: HubBench.hostName, key: key, expiry: 9_999_999_999, policy: policy
                ).text
                all.add(name: "Authorization", value: token ?? own)
            }
            if let ifMatch { all.add(name: "If-Match", value: ifMatch) }
            let response = try #require(
                await responder.answer(
                    HTTPRequest(
                        method: method, target: target, path: parsed.path, query: parsed.query, headers: all,
                        body: ByteBuffer(bytes: body?.bytes() ?? []), peer: HTTPPeer(certificates: certificates))))
            guard case .bytes(let bytes) = response.body else { throw CancellationError() }
            return Answer(
                status: Int(response.status.code), headers: response.headers,
                json: (try? JSONValue(parsing: bytes.readableBytesView)) ?? .null)
        }

        func token(_ id: String, _ key: String, policy: String? = "registration") throws -> String {
            try SASToken.sign(
                resource: "\(desk.scope)/registrations/\(id)", key: key, expiry: 9_999_999_999, policy: policy
            ).text
        }

        func claim(_ id: String, _ credential: IdentityClaim.Credential) -> RegistrationClaim {
            RegistrationClaim(scope: desk.scope, registrationID: id, credential: credential)
        }

        func claim(_ id: String, key: String) throws -> RegistrationClaim {
            claim(id, .sharedAccessSignature(try token(id, key)))
        }

        /// Registers and asks what became of it.
        func provision(_ claim: RegistrationClaim) async throws -> JSONValue {
            let accepted = try await desk.register(claim, ByteBuffer(string: "{}"))
            #expect(accepted.status == 202 && accepted.retryAfter == 3)
            let begun = try JSONValue(parsing: accepted.body.readableBytesView)
            #expect(begun["status"] == "assigning")
            let operation = try #require(begun["operationId"]?.string)
            let answer = try await desk.operation(operation, of: claim)
            #expect(answer.status == 200)
            return try JSONValue(parsing: answer.body.readableBytesView)
        }

        func refuses(_ claim: RegistrationClaim) async -> Bool {
            do {
                _ = try await desk.admit(claim)
                return false
            } catch {
                return error.code.status == 401
            }
        }

        func authority(_ name: String) throws -> CertificateAuthority {
            try .load(orCreateIn: "\(hub.folder)/\(name)", commonName: name, now: Date())
        }

        func leaf(_ authority: CertificateAuthority, _ name: String) throws -> (pem: String, chain: [[UInt8]]) {
            let issued = try authority.issueClientCertificate(commonName: name, lifetime: 3600, now: Date())
            return (issued.chainPEM, [try #require(CertificateChain.der(issued.chainPEM))])
        }
    }

    private func with(_ body: (Bench) async throws -> Void) async throws {
        let hub = try await HubBench()
        var failure: (any Error)?
        do {
            let desk = try await ProvisioningDesk(
                registry: hub.registry, hostNames: [HubBench.hostName], metrics: MetricsRegistry())
            try await body(Bench(hub: hub, desk: desk))
        } catch { failure = error }
        await hub.remove()
        if let failure { throw failure }
    }

    private static let key = Data("0123456789abcdef0123456789abcdef".utf8).base64EncodedString()
    private static let otherKey = Data("fedcba9876543210fedcba9876543210".utf8).base64EncodedString()
    private static let keys: JSONValue = [
        "type": "symmetricKey",
        "symmetricKey": ["primaryKey": .string(key), "secondaryKey": .string(otherKey)],
    ]

    // MARK: Devices

    @Test func `A device with an enrolment of its own is made with its keys, its twin and its id`() async throws {
        try await with { bench in
            let made = try await bench.send(
                .PUT, "/enrollments/pi-42",
                [
                    "registrationId": "pi-42", "deviceId": "pi", "attestation": Self.keys,
                    "capabilities": ["iotEdge": true],
                    "initialTwin": ["tags": ["site": "north"], "properties": ["desired": ["period": 5]]],
                ])
            #expect(made.status == 200 && made.json["provisioningStatus"] == "enabled")
            let result = try await bench.provision(try bench.claim("pi-42", key: Self.otherKey))
            #expect(result["status"] == "assigned")
            let state = result["registrationState"]
            #expect(state?["assignedHub"]?.string == HubBench.hostName && state?["deviceId"] == "pi")
            #expect(state?["substatus"] == "initialAssignment")
            let twin = try await bench.hub.registry.twin(IdentityKey(device: "pi"))
            #expect(twin.identity.isEdge && twin.identity.authentication.keys.primary == Self.key)
            #expect(try JSONValue(parsing: twin.twin.tags) == ["site": "north"])
            #expect(try JSONValue(parsing: twin.twin.desired)["period"] == 5)
            // It connects with the keys that it was enrolled with.
            _ = try await bench.hub.signIn(IdentityKey(device: "pi"), Self.key)
        }
    }

    @Test func `Devices of a group prove themselves with keys derived from the group's`() async throws {
        try await with { bench in
            try await bench.send(.PUT, "/enrollmentGroups/fleet", ["attestation": Self.keys])
            let own = try #require(ProvisioningKey.derived(from: Self.key, registrationID: "pi-1"))
            #expect(await bench.refuses(try bench.claim("pi-1", key: Self.key)))
            #expect(await bench.refuses(try bench.claim("pi-2", key: own)))
            let result = try await bench.provision(try bench.claim("pi-1", key: own))
            #expect(result["registrationState"]?["deviceId"] == "pi-1")
            _ = try await bench.hub.signIn(IdentityKey(device: "pi-1"), own)
            let listed = try await bench.send(.POST, "/registrations/fleet/query")
            #expect(listed.json.array?.map { $0["registrationId"] } == ["pi-1"])
            // One device is kept out by a disabled enrolment of its own.
            try await bench.send(
                .PUT, "/enrollments/pi-1", ["attestation": Self.keys, "provisioningStatus": "disabled"])
            #expect(await bench.refuses(try bench.claim("pi-1", key: own)))
            #expect(await bench.refuses(try bench.claim("pi-1", key: Self.key)))
        }
    }

    @Test func `The key of a device of a group is what OpenSSL derives`() {
        #expect(
            ProvisioningKey.derived(from: Self.key, registrationID: "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6")
                == "UDW+GwvkZWmqYs9A0d/WMRQwQwJcmU2oYq11YE9nBsg=")
        #expect(ProvisioningKey.derived(from: "no base64!", registrationID: "a") == nil)
    }

    @Test func `A certificate opens the enrolment that names it, or the group of its authority`() async throws {
        try await with { bench in
            let (factory, other) = (try bench.authority("factory"), try bench.authority("other"))
            let single = try bench.leaf(other, "single")
            try await bench.send(
                .PUT, "/enrollments/single",
                [
                    "attestation": [
                        "type": "x509",
                        "x509": ["clientCertificates": ["primary": ["certificate": .string(single.pem)]]],
                    ]
                ])
            let read = try await bench.send(.GET, "/enrollments/single")
            let info = read.json.at(["attestation", "x509", "clientCertificates", "primary", "info"])
            #expect(info?["subjectName"]?.string?.contains("single") == true)
            #expect(read.json.at(["registrationState", "status"]) == "unassigned")
            #expect(await bench.refuses(bench.claim("single", .certificates(try bench.leaf(other, "single").chain))))
            _ = try await bench.provision(bench.claim("single", .certificates(single.chain)))
            _ = try await bench.hub.backend.authenticate(
                bench.hub.claim(IdentityKey(device: "single"), .certificates(single.chain)))

            try await bench.send(
                .PUT, "/enrollmentGroups/factory",
                [
                    "attestation": [
                        "type": "x509",
                        "x509": [
                            "signingCertificates": ["primary": ["certificate": .string(factory.certificatePEM)]]
                        ],
                    ]
                ])
            let leaf = try bench.leaf(factory, "line-7")
            #expect(await bench.refuses(bench.claim("line-8", .certificates(leaf.chain))))
            #expect(await bench.refuses(bench.claim("line-7", .certificates(try bench.leaf(other, "line-7").chain))))
            #expect(await bench.refuses(bench.claim("line-7", .certificates([[1, 2, 3]]))))
            #expect(await bench.refuses(bench.claim("line-7", .none)))
            let result = try await bench.provision(bench.claim("line-7", .certificates(leaf.chain)))
            #expect(result["status"] == "assigned")
            _ = try await bench.hub.backend.authenticate(
                bench.hub.claim(IdentityKey(device: "line-7"), .certificates(leaf.chain)))
        }
    }

    @Test func `A group of an authority that the hub knows takes its certificates once it is verified`() async throws {
        try await with { bench in
            let factory = try bench.authority("factory")
            try await bench.send(
                .PUT, "/enrollmentGroups/lines",
                ["attestation": ["type": "x509", "x509": ["caReferences": ["primary": "factory"]]]])
            let claim = bench.claim("line-7", .certificates(try bench.leaf(factory, "line-7").chain))
            let registry = bench.hub.registry
            _ = try await registry.putAuthority("factory", ["certificate": .string(factory.certificatePEM)])
            #expect(await bench.refuses(claim))
            _ = try await registry.putAuthority(
                "factory", ["certificate": .string(factory.certificatePEM), "isVerified": true])
            #expect(try await bench.provision(claim)["status"] == "assigned")
        }
    }

    @Test func `The key of a group takes no device's place that did not come through it`() async throws {
        try await with { bench in
            let old = try await bench.hub.register(IdentityKey(device: "pi"))
            try await bench.send(.PUT, "/enrollmentGroups/fleet", ["attestation": Self.keys])
            let own = try #require(ProvisioningKey.derived(from: Self.key, registrationID: "pi"))
            let result = try await bench.provision(try bench.claim("pi", key: own))
            #expect(result["status"] == "failed")
            #expect(result["registrationState"]?["errorCode"] == 409001)
            // Asking again does not help.
            #expect(try await bench.provision(try bench.claim("pi", key: own))["status"] == "failed")
            _ = try await bench.hub.signIn(IdentityKey(device: "pi"), old)
            // An enrolment of its own says that it is meant.
            try await bench.send(.PUT, "/enrollments/pi", ["attestation": Self.keys])
            #expect(try await bench.provision(try bench.claim("pi", key: Self.key))["status"] == "assigned")
            _ = try await bench.hub.signIn(IdentityKey(device: "pi"), Self.key)
        }
    }

    @Test func `Who asks again keeps data, loses it, or is left alone, as the enrolment says`() async throws {
        try await with { bench in
            let device = IdentityKey(device: "pi")
            try await bench.send(.PUT, "/enrollments/pi", ["attestation": Self.keys])
            let claim = try bench.claim("pi", key: Self.key)
            _ = try await bench.provision(claim)
            let first = try await bench.hub.registry.patchTwin(device, ["tags": ["a": 1]], condition: .none)
            _ = try await bench.hub.registry.put(
                IdentityRequest(
                    [
                        "status": "disabled", "statusReason": "stolen",
                        "authentication": first.identity.authentication.json,
                    ],
                    for: device), condition: .any)
            let again = try await bench.provision(claim)
            #expect(again["registrationState"]?["substatus"] == "deviceDataMigrated")
            let kept = try await bench.hub.registry.twin(device)
            #expect(try JSONValue(parsing: kept.twin.tags) == ["a": 1])
            #expect(!kept.identity.isEnabled && kept.identity.statusReason == "stolen")
            #expect(kept.identity.generationID == first.identity.generationID)
            try await bench.send(
                .PUT, "/enrollments/pi",
                ["attestation": Self.keys, "reprovisionPolicy": ["migrateDeviceData": false]], ifMatch: "*")
            #expect(try await bench.provision(claim)["registrationState"]?["substatus"] == "deviceDataReset")
            let reset = try await bench.hub.registry.twin(device)
            #expect(reset.twin.tags == "{}")
            try await bench.send(
                .PUT, "/enrollments/pi",
                ["attestation": Self.keys, "reprovisionPolicy": ["updateHubAssignment": false]], ifMatch: "*")
            _ = try await bench.provision(claim)
            #expect(try await bench.hub.registry.twin(device) == reset)
        }
    }

    @Test func `Tokens are refused that are for something else, too wide, or of another scope`() async throws {
        try await with { bench in
            try await bench.send(.PUT, "/enrollments/pi", ["attestation": Self.keys])
            #expect(await !bench.refuses(try bench.claim("pi", key: Self.key)))
            func token(_ resource: String, policy: String? = "registration", expiry: Int64 = 9_999_999_999) throws
                -> RegistrationClaim
            {
                bench.claim(
                    "pi",
                    .sharedAccessSignature(
                        try SASToken.sign(resource: resource, key: Self.key, expiry: expiry, policy: policy).text))
            }
            let scope = bench.desk.scope
            #expect(await bench.refuses(try token("\(scope)/registrations/other")))
            #expect(await bench.refuses(try token("\(scope)/registrations")))
            #expect(await bench.refuses(try token("\(scope)/registrations/pi", policy: "iothubowner")))
            #expect(await bench.refuses(try token("\(scope)/registrations/pi", expiry: 1_000_000)))
            #expect(await bench.refuses(bench.claim("pi", .sharedAccessSignature("nonsense"))))
            var elsewhere = try bench.claim("pi", key: Self.key)
            elsewhere.scope = "0ne00000000"
            #expect(await bench.refuses(elsewhere))
        }
    }

    // MARK: HTTPS

    @Test func `A device is provisioned over HTTPS, and reads its registration`() async throws {
        try await with { bench in
            try await bench.send(.PUT, "/enrollments/pi", ["attestation": Self.keys])
            let path = "/\(bench.desk.scope)/registrations/pi"
            let token = try bench.token("pi", Self.key)
            let wrong = try await bench.send(.PUT, path + "/register", [:], token: try bench.token("pi", "AAAA"))
            #expect(wrong.status == 401 && wrong.json["errorCode"] == 401003)
            let accepted = try await bench.send(
                .PUT, path + "/register?api-version=2021-06-01", ["registrationId": "pi", "payload": ["a": 1]],
                token: token)
            #expect(accepted.status == 202 && accepted.headers.first(name: "Retry-After") == "3")
            let operation = try #require(accepted.json["operationId"]?.string)
            let done = try await bench.send(.GET, "\(path)/operations/\(operation)", token: token)
            #expect(done.status == 200 && done.json["status"] == "assigned")
            #expect(try await bench.send(.GET, "\(path)/operations/none", token: token).status == 404)
            let state = try await bench.send(.POST, path, [:], token: token)
            #expect(state.json["assignedHub"]?.string == HubBench.hostName)
            let stranger = try await bench.send(
                .PUT, path + "/register", ["registrationId": "other"], token: token)
            #expect(stranger.status == 400)
            #expect(try await bench.send(.DELETE, path, token: token).status == 405)
        }
    }

    // MARK: Enrolments

    @Test func `Enrolments are created, read without keys, replaced by etag, listed page by page and removed`()
        async throws
    {
        try await with { bench in
            for id in ["a", "b", "c"] {
                let made = try await bench.send(.PUT, "/enrollments/\(id)", ["attestation": Self.keys])
                #expect(made.json.at(["attestation", "symmetricKey", "primaryKey"])?.string == Self.key)
            }
            #expect(try await bench.send(.PUT, "/enrollments/a", ["attestation": Self.keys]).status == 409)
            let read = try await bench.send(.GET, "/enrollments/a")
            #expect(read.json.at(["attestation", "symmetricKey", "primaryKey"]) == .null)
            let etag = try #require(read.json["etag"]?.string)
            #expect(read.headers.first(name: "ETag") == "\"\(etag)\"")
            // What was read can be written back: veiled keys mean the same keys.
            var changed = try #require(read.json.object)
            changed["deviceId"] = "another"
            let put = try await bench.send(.PUT, "/enrollments/a", .object(changed), ifMatch: "\"\(etag)\"")
            #expect(put.status == 200 && put.json["deviceId"] == "another")
            #expect(put.json.at(["attestation", "symmetricKey", "primaryKey"])?.string == Self.key)
            #expect(try await bench.send(.PUT, "/enrollments/a", .object(changed), ifMatch: etag).status == 412)
            #expect(try await bench.send(.DELETE, "/enrollments/a", ifMatch: etag).status == 412)
            let keys = try await bench.send(.POST, "/enrollments/a/attestationmechanism")
            #expect(keys.json.at(["symmetricKey", "secondaryKey"])?.string == Self.otherKey)
            let query: JSONValue = ["query": "SELECT * FROM enrollments"]
            let first = try await bench.send(
                .POST, "/enrollments/query", query, headers: [("x-ms-max-item-count", "2")])
            let next = try #require(first.headers.first(name: "x-ms-continuation"))
            let second = try await bench.send(
                .POST, "/enrollments/query", query,
                headers: [("x-ms-max-item-count", "2"), ("x-ms-continuation", next)])
            #expect(second.headers.first(name: "x-ms-continuation") == nil)
            let ids = ((first.json.array ?? []) + (second.json.array ?? [])).compactMap { $0["registrationId"]?.string }
            #expect(ids == ["a", "b", "c"])
            #expect(try await bench.send(.DELETE, "/enrollments/a").status == 204)
            #expect(try await bench.send(.GET, "/enrollments/a").json["errorCode"] == 404201)
            let bulk = try await bench.send(
                .POST, "/enrollments",
                [
                    "mode": "create",
                    "enrollments": [
                        ["registrationId": "b", "attestation": Self.keys],
                        ["registrationId": "d", "attestation": Self.keys],
                    ],
                ])
            #expect(bulk.json["isSuccessful"] == false && bulk.json["errors"]?[0]?["registrationId"] == "b")
            #expect(try await bench.send(.GET, "/enrollments/d").status == 200)
        }
    }

    @Test(arguments: [
        "{}", #"{"attestation":{"type":"tpm","tpm":{"endorsementKey":"AA"}}}"#,
        #"{"attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"AA==","secondaryKey":"AA=="}}}"#,
        #"{"attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":"x"}}}}}"#,
        #"{"attestation":{"type":"symmetricKey"},"registrationId":"other"}"#,
        #"{"attestation":{"type":"symmetricKey"},"allocationPolicy":"custom"}"#,
        #"{"attestation":{"type":"symmetricKey"},"iotHubHostName":"another.hub"}"#,
        #"{"attestation":{"type":"symmetricKey"},"initialTwin":{"tags":{"a.b":1}}}"#,
        #"{"attestation":{"type":"symmetricKey"},"deviceId":"a b"}"#, "[]",
    ])
    func `What cannot be enrolled is refused when it is written`(text: String) async throws {
        try await with { bench in
            let answer = try await bench.send(.PUT, "/enrollments/pi", try JSONValue(parsing: text))
            #expect(answer.status == 400)
            #expect(try await bench.send(.GET, "/enrollments/pi").status == 404)
        }
    }

    @Test func `Reading needs RegistryRead, and writing and keys need RegistryWrite`() async throws {
        try await with { bench in
            try await bench.send(.PUT, "/enrollments/pi", ["attestation": Self.keys])
            for (policy, reads, writes) in [
                ("registryRead", true, false), ("service", false, false), ("registryReadWrite", true, true),
                ("device", false, false),
            ] {
                let read = try await bench.send(.GET, "/enrollments/pi", policy: policy).status
                #expect(read == (reads ? 200 : 401), "\(policy)")
                #expect(try await bench.send(.GET, "/provisioning", policy: policy).status == read)
                let keys = try await bench.send(.POST, "/enrollments/pi/attestationmechanism", policy: policy).status
                #expect(keys == (writes ? 200 : 401), "\(policy)")
                let written = try await bench.send(
                    .PUT, "/enrollments/pi", ["attestation": Self.keys], ifMatch: "*", policy: policy
                ).status
                #expect(written == (writes ? 200 : 401), "\(policy)")
            }
        }
    }

    @Test func `The id scope stays when the hub starts again`() async throws {
        try await with { bench in
            let again = try await ProvisioningDesk(
                registry: bench.hub.registry, hostNames: [HubBench.hostName], metrics: MetricsRegistry())
            #expect(again.scope == bench.desk.scope && again.scope.hasPrefix("0ne"))
        }
    }
}
