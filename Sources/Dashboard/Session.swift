import Crypto
import FoundationEssentials
import JSONDocument
import Synchronization

/// What somebody may do, as the hub says it; the hub itself checks every call.
struct Permissions: OptionSet, Sendable, Hashable {
    let rawValue: Int

    static let read = Permissions(rawValue: 1)
    /// Change twins and call methods.
    static let operate = Permissions(rawValue: 2)
    static let deploy = Permissions(rawValue: 4)
    /// Make and remove devices.
    static let registry = Permissions(rawValue: 8)
    static let keys = Permissions(rawValue: 16)
    static let users = Permissions(rawValue: 32)

    private static let names: [String: Permissions] = [
        "read": .read, "operate": .operate, "deploy": .deploy, "registry": .registry, "keys": .keys, "users": .users,
    ]

    init(rawValue: Int) { self.rawValue = rawValue }

    init(_ json: JSONValue?) {
        self = Permissions((json?.array ?? []).compactMap { $0.string.flatMap { Self.names[$0] } })
    }
}

/// Somebody who has signed in: the token that speaks for them on every call.
struct Session: Sendable {
    let name: String
    /// `viewer`, `operator`, `admin` or `policy`.
    let role: String
    let permissions: Permissions
    let token: String
    /// Proves that a form was made by a page of this session.
    let formToken: String
    let end: Date
}

/// The sessions of a dashboard; in memory only, so a restart signs everybody out.
final class SessionRegister: Sendable {
    private let sessions = Mutex<[String: Session]>([:])
    /// Less than the twelve hours for which the hub's tokens last.
    private let lifetime: TimeInterval = 12 * 3600 - 60
    private let limit = 1000

    /// - Parameter account: what the hub answered to signing in.
    /// - Returns: the secret that goes into the cookie.
    func open(_ account: JSONValue, now: Date) -> String {
        let secret = Self.random()
        let session = Session(
            name: account["name"]?.string ?? "", role: account["role"]?.string ?? "",
            permissions: Permissions(account["may"]), token: account["token"]?.string ?? "",
            formToken: Self.random(), end: now + lifetime)
        sessions.withLock { sessions in
            sessions = sessions.filter { $0.value.end > now }
            if sessions.count >= limit, let oldest = sessions.min(by: { $0.value.end < $1.value.end }) {
                sessions[oldest.key] = nil
            }
            sessions[Self.digest(secret)] = session
        }
        return secret
    }

    func session(_ secret: String, now: Date) -> Session? {
        sessions.withLock { $0[Self.digest(secret)] }.flatMap { $0.end > now ? $0 : nil }
    }

    func close(_ secret: String) {
        sessions.withLock { _ = $0.removeValue(forKey: Self.digest(secret)) }
    }

    /// A look-up by digest takes the same time for every wrong guess.
    private static func digest(_ secret: String) -> String {
        Data(SHA256.hash(data: Array(secret.utf8))).base64EncodedString()
    }

    private static func random() -> String {
        SymmetricKey(size: .bits256).withUnsafeBytes { Data($0).base64EncodedString() }
            .filter { $0.isLetter || $0.isNumber }
    }
}
