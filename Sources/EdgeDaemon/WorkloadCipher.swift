import Crypto
import FoundationEssentials
import NIOHTTP1

/// Encryption for a module: AES-256-GCM with a key of the module, bound to its id and generation (edge-runtime.md, C.3).
struct WorkloadCipher {
    private let key: SymmetricKey
    private let context: [UInt8]

    init(_ derivation: ModuleKeyDerivation, _ identity: RegisteredModule) {
        key = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: derivation.key(of: identity)), info: Array("workload encryption".utf8),
            outputByteCount: 32)
        context = Array((identity.moduleID + identity.generationID).utf8)
    }

    func encrypt(_ plaintext: Data, initializationVector: Data) throws -> [UInt8] {
        let nonce = try nonce(initializationVector)
        let box = try AES.GCM.seal(plaintext, using: key, nonce: nonce, authenticating: context)
        return Array(box.ciphertext) + Array(box.tag)
    }

    func decrypt(_ ciphertext: Data, initializationVector: Data) throws -> [UInt8] {
        let nonce = try nonce(initializationVector)
        guard ciphertext.count >= 16 else { throw DaemonRefusal(.badRequest, "ciphertext is too short") }
        do {
            let box = try AES.GCM.SealedBox(
                nonce: nonce, ciphertext: ciphertext.dropLast(16), tag: ciphertext.suffix(16))
            return Array(try AES.GCM.open(box, using: key, authenticating: context))
        } catch {
            throw DaemonRefusal(.badRequest, "ciphertext was not made by this module, or was changed")
        }
    }

    private func nonce(_ vector: Data) throws -> AES.GCM.Nonce {
        // The vector may have any length on the wire; the cipher wants twelve bytes.
        if vector.count == 12, let nonce = try? AES.GCM.Nonce(data: vector) { return nonce }
        guard !vector.isEmpty else { throw DaemonRefusal(.badRequest, "initializationVector is empty") }
        return try AES.GCM.Nonce(data: Array(SHA256.hash(data: vector).prefix(12)))
    }
}
