import Crypto
import FoundationEssentials
import HubProtocol
import Synchronization

/// Somebody who has signed in: the policy that speaks for them on every call.
struct Session: Sendable {
    let policy: String
    let key: String
    /// Proves that a form was made by a page of this session.
    let formToken: String
    let end: Date
}

/// The sessions of a dashboard; in memory only, so a restart signs everybody out.
final class SessionRegister: Sendable {
    private let sessions = Mutex<[String: Session]>([:])
    private let lifetime: TimeInterval = 12 * 3600
    private let limit = 1000

    /// - Returns: the secret that goes into the cookie.
    func open(policy: String, key: String, now: Date) -> String {
        let secret = Self.random()
        sessions.withLock { sessions in
            sessions = sessions.filter { $0.value.end > now }
            if sessions.count >= limit, let oldest = sessions.min(by: { $0.value.end < $1.value.end }) {
                sessions[oldest.key] = nil
            }
            sessions[Self.digest(secret)] = Session(
                policy: policy, key: key, formToken: Self.random(), end: now + lifetime)
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
