import Crypto

/// Compares secrets without telling by the time how much of them agrees.
enum SecretComparison {
    static func areEqual(_ one: String, _ other: String) -> Bool {
        SHA256.hash(data: Array(one.utf8)) == SHA256.hash(data: Array(other.utf8))
    }
}
