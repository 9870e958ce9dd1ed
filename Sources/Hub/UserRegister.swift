import Crypto
import FoundationEssentials
import JSONDocument
package import Model
import NIOPosix
import PKI
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The users of a hub: the file `users.json` (0600) of its folder.
///
/// The running hub and the command that works on the folder may both write; a lock file lets one at a time. Whoever
/// reads sees the newest file, which is read again only when it is another one.
package final class UserRegister: Sendable {
    package struct Refusal: Error, Sendable, CustomStringConvertible {
        package enum Kind: Sendable { case invalid, notFound, exists }
        package let kind: Kind
        package let description: String
    }

    private struct Kept {
        var stamp: FileStamp?
        var users: [String: HubUser] = [:]
    }

    private let path: String?
    private let kept = Mutex(Kept())

    /// - Parameter folder: the hub's; nil for a hub without users.
    package init(folder: String?) { path = folder.map { $0 + "/users.json" } }

    package static let limit = 10_000

    /// All users by name.
    package func all() async throws -> [String: HubUser] {
        try await onThread { try self.read() }
    }

    package func user(_ name: String) async throws -> HubUser? { try await all()[name] }

    /// Makes a user, or changes role and password of one; what is nil stays as it is.
    ///
    /// - Parameter replaces: nil takes either, true needs one that is there, false a new one.
    /// - Throws: `Refusal`, `FileError`.
    @discardableResult
    package func put(
        _ name: String, role: UserRole?, password: String?, replaces: Bool?, now: Timestamp
    ) async throws -> HubUser {
        try await onThread {
            guard HubUser.isValid(name: name) else {
                throw Refusal(
                    kind: .invalid,
                    description: "'\(name)' is no name: 1 to 64 letters, digits and any of . _ - @")
            }
            if let password {
                guard (HubUser.shortestPassword...HubUser.longestPassword).contains(password.utf8.count) else {
                    throw Refusal(
                        kind: .invalid,
                        description: "a password has \(HubUser.shortestPassword) to \(HubUser.longestPassword) bytes")
                }
            }
            let hash = password.map { PasswordHash(of: $0) }
            return try self.change { users in
                let existing = users[name]
                if existing == nil, replaces == true { throw Self.absent(name) }
                if existing != nil, replaces == false {
                    throw Refusal(kind: .exists, description: "there is a user '\(name)' already")
                }
                guard let hash = hash ?? existing?.password else {
                    throw Refusal(kind: .invalid, description: "a new user needs a password")
                }
                guard existing != nil || users.count < Self.limit else {
                    throw Refusal(kind: .invalid, description: "a hub has at most \(Self.limit) users")
                }
                let isNewKey = password != nil || existing == nil
                let user = HubUser(
                    name: name, role: role ?? existing?.role ?? .viewer, created: existing?.created ?? now,
                    password: hash, tokenKey: isNewKey ? Self.makeKey() : existing?.tokenKey ?? Self.makeKey())
                users[name] = user
                return user
            }
        }
    }

    package func remove(_ name: String) async throws {
        try await onThread {
            try self.change { users in
                guard users.removeValue(forKey: name) != nil else { throw Self.absent(name) }
            }
        }
    }

    /// The user, when the password is theirs; an unknown name takes as long as a wrong password.
    func check(_ name: String, password: String) async throws -> HubUser? {
        try await onThread {
            guard password.utf8.count <= HubUser.longestPassword else { return nil }
            guard let user = try self.read()[name] else {
                _ = Self.nobody.matches(password)
                return nil
            }
            return user.password.matches(password) ? user : nil
        }
    }

    private static let nobody = PasswordHash(of: makeKey())

    private static func absent(_ name: String) -> Refusal {
        Refusal(kind: .notFound, description: "there is no user '\(name)'")
    }

    private static func makeKey() -> String {
        SymmetricKey(size: .bits256).withUnsafeBytes { Data($0).base64EncodedString() }
    }

    /// Files and slow hashes have a thread that may wait.
    private func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await NIOThreadPool.singleton.runIfActive(body)
    }

    // MARK: The file

    private func read() throws -> [String: HubUser] {
        guard let path else { return [:] }
        guard let stamp = try FileStamp(of: path) else { return [:] }
        if let known = kept.withLock({ $0.stamp == stamp ? $0.users : nil }) { return known }
        guard let bytes = try SecretFile.read(path) else { return [:] }
        let document = try JSONValue(parsing: bytes)
        var users: [String: HubUser] = [:]
        for (name, value) in document["users"]?.object ?? [:] {
            guard let user = HubUser(name: name, document: value) else {
                throw Refusal(kind: .invalid, description: "\(path) holds no valid entry for '\(name)'")
            }
            users[name] = user
        }
        kept.withLock { [users] in $0 = Kept(stamp: stamp, users: users) }
        return users
    }

    private func change<Result>(_ body: (inout [String: HubUser]) throws -> Result) throws -> Result {
        guard let path else {
            throw Refusal(kind: .invalid, description: "this hub keeps no users")
        }
        let lock = openFile(path + ".lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw FileError("open", path: path + ".lock", code: errno) }
        defer { close(lock) }
        while flock(lock, LOCK_EX) != 0 {
            guard errno == EINTR else { throw FileError("lock", path: path, code: errno) }
        }
        var users = try read()
        let result = try body(&users)
        let members = users.sorted { $0.key < $1.key }.map { ($0.key, $0.value.document) }
        let document: JSONValue = ["users": .object(JSONObject(members))]
        try SecretFile.write(document.bytes(.pretty), to: path)
        return result
    }
}

/// The variadic call under a name of its own.
private func openFile(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 { open(path, flags, mode) }
