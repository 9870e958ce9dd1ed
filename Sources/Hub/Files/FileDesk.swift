import Crypto
import DeviceGateway
import FoundationEssentials
import HubProtocol
import HubStore
import Model

/// Uploads of files by devices: who may put what, and who is told (hub.md, section 8).
final class FileDesk: FileUploadBackend {
    static let container = "uploads"
    /// Uploads that a device may have begun and not ended.
    static let openLimit = 10
    /// How long a device has for one file, in seconds.
    static let uploadTime: Int64 = 3600
    private static let keySetting = "uploadKey"

    let registry: HubRegistry
    let store: FileStore
    let notifications: FileNotificationDesk
    let hostNames: [String]
    private let key: SymmetricKey
    private let makeID: @Sendable () -> String

    init(
        registry: HubRegistry, store: FileStore, hostNames: [String],
        makeID: @escaping @Sendable () -> String = { UUID().uuidString.lowercased() }
    ) async throws {
        self.registry = registry
        self.store = store
        self.hostNames = hostNames
        self.makeID = makeID
        notifications = FileNotificationDesk(registry: registry)
        let fresh = registry.makeKey()
        let kept = try await registry.database.write { transaction in
            if let kept = try transaction.database.setting(Self.keySetting) { return kept }
            try transaction.set(Self.keySetting, to: fresh)
            return fresh
        }
        key = SymmetricKey(data: Data(kept.utf8))
    }

    func beginUpload(
        _ blob: String, by identity: AuthenticatedIdentity, host: String
    ) async throws(HubError) -> FileUploadGrant {
        guard Self.isName(blob) else {
            throw HubError(
                .argumentInvalid, "blobName has 1 to 1024 bytes, without empty parts, '.' or '..' between its slashes.")
        }
        let (id, time, device) = (makeID(), registry.now(), identity.key.deviceID)
        let old = time.after(.seconds(-Self.uploadTime))
        let stale = try await registry.write { transaction in
            let stale = try transaction.database.uploads(begunBefore: old)
            for upload in stale { try transaction.removeUpload(upload.id) }
            guard try transaction.database.uploads(of: device).count < Self.openLimit else {
                throw HubError(
                    .deviceMaximumActiveFileUploadLimitExceeded,
                    "Number of active file upload requests cannot exceed \(Self.openLimit)")
            }
            try transaction.insert(UploadRecord(id: id, deviceID: device, blob: blob, created: time))
            return stale
        }
        for upload in stale { await store.abandon(upload.blob, of: upload.deviceID) }
        return FileUploadGrant(
            correlationID: id, hostName: reachable(host), container: Self.container, blob: "\(device)/\(blob)",
            token: "?\(token(for: blob, of: device, until: time.seconds + Self.uploadTime))")
    }

    func endUpload(
        _ id: String, isSuccess: Bool, by identity: AuthenticatedIdentity, host: String
    ) async throws(HubError) {
        let device = identity.key.deviceID
        let found = try await registry.read { try $0.upload(id) }
        guard let found, found.deviceID == device else {
            throw HubError(.argumentInvalid, "There is no upload '\(id.prefix(64))' of '\(device)'.")
        }
        let facts = try await store.facts(of: found.blob, device)
        let time = registry.now()
        guard isSuccess else {
            try await registry.write { try $0.removeUpload(id) }
            return await store.abandon(found.blob, of: device)
        }
        guard let facts else {
            throw HubError(.argumentInvalid, "The file '\(found.blob)' was not put, so it cannot have gone well.")
        }
        let uri = "https://\(reachable(host))/\(Self.container)/\(Self.path(found.blob, of: device))"
        try await registry.write { transaction in
            try transaction.removeUpload(id)
            try transaction.insert(
                FileNotification(
                    deviceID: device, blob: found.blob, uri: uri, size: facts.size, modified: facts.modified,
                    created: time))
        }
        notifications.noted()
    }

    /// Whether a file is being uploaded now.
    func isOpen(_ blob: String, of device: String) async throws(HubError) -> Bool {
        try await registry.read { try $0.uploads(of: device).contains { $0.blob == blob } }
    }

    /// The name, with its port, by which the device came when that is the hub's; the hub's own otherwise.
    private func reachable(_ host: String) -> String {
        let name = host.split(separator: ":").first.map(String.init) ?? ""
        let isOwn = hostNames.contains { $0.lowercased() == name.lowercased() }
        return isOwn ? host : hostNames.first ?? host
    }

    static func path(_ blob: String, of device: String) -> String {
        ([device] + blob.split(separator: "/").map(String.init)).map { PercentCoding.encoded($0) }
            .joined(separator: "/")
    }

    static func isName(_ blob: String) -> Bool {
        (1...1024).contains(blob.utf8.count) && !blob.utf8.contains(0)
            && blob.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
                !$0.isEmpty && $0 != "." && $0 != ".."
            }
    }

    // MARK: Tokens

    /// Bears the members that clients of blob stores pass on.
    private func token(for blob: String, of device: String, until end: Int64) -> String {
        let expiry = Timestamp(milliseconds: end * 1000).description
        let signature = HMAC<SHA256>.authenticationCode(for: Self.signed(blob, device, expiry), using: key)
        return "sv=2021-08-06&se=\(PercentCoding.encoded(expiry))&sr=b&sp=rw&sig="
            + PercentCoding.encoded(Data(signature).base64EncodedString())
    }

    private static func signed(_ blob: String, _ device: String, _ expiry: String) -> [UInt8] {
        Array("rw\n\(device)\n\(blob)\n\(expiry)".utf8)
    }

    /// Whether the parameters of a request are a token for this file that has not ended.
    func allows(_ parameters: [(name: String, value: String)], _ blob: String, of device: String) -> Bool {
        func value(_ name: String) -> String? { parameters.first { $0.name == name }?.value }
        guard let expiry = value("se"), let end = Timestamp(parsing: expiry), end > registry.now(),
            let text = value("sig"), let signature = Data(base64Encoded: text)
        else { return false }
        return HMAC<SHA256>.isValidAuthenticationCode(
            signature, authenticating: Self.signed(blob, device, expiry), using: key)
    }
}
