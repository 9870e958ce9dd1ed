/// Names a device, or a module of a device, within one hub.
package struct IdentityKey: Hashable, Sendable {
    package let deviceID: String
    /// Nil for the device itself.
    package let moduleID: String?

    package init(device deviceID: String, module moduleID: String? = nil) {
        self.deviceID = deviceID
        self.moduleID = moduleID
    }

    /// Reads `device` or `device/module`, the form of an MQTT client id (hub.md, section 6.1); nil for any other form.
    package init?(parsing text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), parts.allSatisfy({ Self.isValid($0) }) else { return nil }
        self.init(device: String(parts[0]), module: parts.count == 2 ? String(parts[1]) : nil)
    }

    package var isModule: Bool { moduleID != nil }

    /// The identity of the device that this is, or that this module belongs to.
    package var device: IdentityKey { IdentityKey(device: deviceID) }

    /// Whether a text can be a device or module id: 1 to 128 of the characters of hub.md, section 2.1.
    package static func isValid(_ id: some StringProtocol) -> Bool {
        (1...128).contains(id.utf8.count) && id.utf8.allSatisfy { allowed.contains($0) }
    }

    private static let allowed = Set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.+%_#*?!(),=@$':;".utf8)
}

extension IdentityKey: Comparable, CustomStringConvertible {
    /// By device id, then module id, ordinal; a device comes before its modules.
    package static func < (left: IdentityKey, right: IdentityKey) -> Bool {
        (left.deviceID, left.moduleID ?? "") < (right.deviceID, right.moduleID ?? "")
    }

    package var description: String { moduleID.map { "\(deviceID)/\($0)" } ?? deviceID }
}
