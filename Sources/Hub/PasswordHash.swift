import Crypto
import FoundationEssentials
import JSONDocument
import _CryptoExtras

/// A password as it is kept: scrypt (RFC 7914), which costs a guess memory and time.
///
/// Making and checking one takes about a tenth of a second and 32 MB; do it on a thread that may wait.
struct PasswordHash: Sendable, Hashable {
    private let salt: Data
    private let digest: Data
    private let rounds: Int

    private static let rounds = 1 << 15
    private static let blockSize = 8
    private static let length = 32

    init(of password: String) {
        salt = SymmetricKey(size: .bits128).withUnsafeBytes { Data($0) }
        rounds = Self.rounds
        digest = Self.derive(password, salt: salt, rounds: rounds)
    }

    /// Takes the same time for every wrong password.
    func matches(_ password: String) -> Bool {
        let other = Self.derive(password, salt: salt, rounds: rounds)
        var difference = digest.count ^ other.count
        for (own, given) in zip(digest, other) { difference |= Int(own ^ given) }
        return difference == 0 && !digest.isEmpty
    }

    /// Empty when the parameters are none, which matches nothing.
    private static func derive(_ password: String, salt: Data, rounds: Int) -> Data {
        let key = try? KDF.Scrypt.deriveKey(
            from: Data(password.utf8), salt: salt, outputByteCount: length, rounds: rounds, blockSize: blockSize,
            parallelism: 1, maxMemory: 256 << 20)
        return key?.withUnsafeBytes { Data($0) } ?? Data()
    }
}

extension PasswordHash {
    init?(_ json: JSONValue) {
        guard json["kind"]?.string == "scrypt", let rounds = json["rounds"]?.int, (1 << 10...1 << 20).contains(rounds),
            let salt = json["salt"]?.string.flatMap({ Data(base64Encoded: $0) }),
            let digest = json["digest"]?.string.flatMap({ Data(base64Encoded: $0) }), digest.count == Self.length
        else { return nil }
        self.salt = salt
        self.digest = digest
        self.rounds = rounds
    }

    var json: JSONValue {
        [
            "kind": "scrypt", "rounds": JSONValue(rounds), "salt": .string(salt.base64EncodedString()),
            "digest": .string(digest.base64EncodedString()),
        ]
    }
}
