import FoundationEssentials
import HubStore
import JSONDocument
import PKI
import SQLite

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The hub's data folder (0700) and what lies in it outside of the registry and the message log.
///
/// `hub.json` names the hub, `registry.db` is the registry, `events/` the message log, `ca/` the authority, `tls/` the
/// certificate of the ports, `lock` is held by the hub that runs.
package struct HubFolder: Sendable {
    package let path: String

    package init(_ path: String) { self.path = path }

    package enum Failure: Error, CustomStringConvertible {
        case inUse(String)
        case noHub(String)
        case noPolicy(String, known: [String])
        case file(String)

        package var description: String {
            switch self {
            case .inUse(let path): "another hub runs on \(path); stop it, or give --data another folder"
            case .noHub(let path): "there is no hub in \(path); `hedgerow hub run --data \(path)` makes one"
            case .noPolicy(let name, let known):
                "the hub has no policy '\(name)'; it has \(known.sorted().joined(separator: ", "))"
            case .file(let text): text
            }
        }
    }

    var registry: String { path + "/registry.db" }
    var events: String { path + "/events" }
    /// Below which file endpoints of routing lie.
    var endpoints: String { path + "/endpoints" }
    /// The files of exports and imports.
    var transfers: String { path + "/transfers" }
    /// What devices have uploaded.
    var files: String { path + "/files" }

    /// The people who may sign in; works beside a running hub.
    package func users() throws -> UserRegister {
        guard try keptNames() != nil else { throw Failure.noHub(path) }
        return UserRegister(folder: path)
    }

    /// Makes the folder, closes it to others, and keeps it for this process until the value goes.
    func take() throws -> HubFolderLock {
        try SecretFile.makeFolder(path)
        guard chmod(path, 0o700) == 0 else {
            throw Failure.file("cannot close \(path) to others: \(String(cString: strerror(errno)))")
        }
        return try HubFolderLock(path: path)
    }

    /// SQLite gives its files the mode of the first one.
    func makeRegistryFile() throws {
        let descriptor = openFile(registry, O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw Failure.file("cannot open \(registry): \(String(cString: strerror(errno)))")
        }
        close(descriptor)
    }

    // MARK: The hub's names

    struct Names: Sendable {
        var hostName: String
        /// The Event-Hubs-compatible name and the name in events.
        var name: String
    }

    /// What was given, what the folder says, or what fits one machine, in this order; kept for the other commands.
    func names(hostName: String?, name: String?) throws -> Names {
        let kept = try keptNames()
        let hostName = hostName ?? kept?.hostName ?? "localhost"
        let fallback = String(hostName.prefix { $0 != "." })
        let names = Names(hostName: hostName, name: name ?? kept?.name ?? fallback)
        if kept?.hostName != names.hostName || kept?.name != names.name {
            let document: JSONValue = ["hostName": .string(names.hostName), "name": .string(names.name)]
            try SecretFile.write(document.bytes(.pretty), to: path + "/hub.json")
        }
        return names
    }

    private func keptNames() throws -> Names? {
        guard let bytes = try SecretFile.read(path + "/hub.json") else { return nil }
        let document = try JSONValue(parsing: bytes)
        guard let hostName = document["hostName"]?.string else { return nil }
        return Names(hostName: hostName, name: document["name"]?.string ?? hostName)
    }

    /// The connection string of a policy; works beside a running hub.
    package func connectionString(policy name: String) throws -> String {
        guard let names = try keptNames() else { throw Failure.noHub(path) }
        let database = try SQLiteDatabase(path: registry, readOnly: true)
        let policies = try AccessPolicy.all(in: database)
        guard let policy = policies[name] else { throw Failure.noPolicy(name, known: Array(policies.keys)) }
        return "HostName=\(names.hostName);SharedAccessKeyName=\(policy.name);SharedAccessKey=\(policy.primaryKey)"
    }

    // MARK: Certificates

    func authority(commonName: String, now: Date) throws -> CertificateAuthority {
        try CertificateAuthority.load(orCreateIn: path + "/ca", commonName: commonName, now: now)
    }

    /// When the folder became a hub's.
    func created() throws -> Date {
        let attributes = try FileManager.default.attributesOfItem(atPath: path + "/ca/ca.pem")
        return attributes[.modificationDate] as? Date ?? Date(timeIntervalSince1970: 0)
    }

    /// The authority's certificate as PEM; works beside a running hub.
    package func authorityPEM() throws -> String {
        guard let bytes = try SecretFile.read(path + "/ca/ca.pem") else { throw Failure.noHub(path) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The certificate of the ports: the kept one while it fits and lasts for another month, otherwise a new one.
    func serverCertificate(
        names: [String], authority: CertificateAuthority, now: Date
    ) throws -> (chainPEM: String, keyPEM: String) {
        let folder = path + "/tls"
        try SecretFile.makeFolder(folder)
        let facts = folder + "/server.json"
        if let bytes = try SecretFile.read(facts), let document = try? JSONValue(parsing: bytes),
            document["names"]?.array?.compactMap(\.string) == names,
            let end = document["notAfter"]?.double, end > now.timeIntervalSince1970 + 30 * 86_400,
            document["authority"]?.string == authority.certificatePEM,
            let chain = try SecretFile.read(folder + "/server.pem"),
            let key = try SecretFile.read(folder + "/server.key.pem")
        {
            return (String(decoding: chain, as: UTF8.self), String(decoding: key, as: UTF8.self))
        }
        let issued = try authority.issueServerCertificate(names: names, now: now)
        // The description last: without it the files are made anew.
        try SecretFile.write(issued.privateKeyPEM.utf8, to: folder + "/server.key.pem")
        try SecretFile.write(issued.chainPEM.utf8, to: folder + "/server.pem")
        let document: JSONValue = [
            "names": .array(names.map(JSONValue.string)),
            "notAfter": JSONValue(Int(issued.notValidAfter.timeIntervalSince1970)),
            "authority": .string(authority.certificatePEM),
        ]
        try SecretFile.write(document.bytes(), to: facts)
        return (issued.chainPEM, issued.privateKeyPEM)
    }
}

/// Held while a hub runs on a folder; the system lets go of it when the process ends, however it ends.
final class HubFolderLock: Sendable {
    private let descriptor: Int32

    init(path: String) throws {
        descriptor = openFile(path + "/lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw HubFolder.Failure.file("cannot open \(path)/lock: \(String(cString: strerror(errno)))")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw HubFolder.Failure.inUse(path) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Lets another hub have the folder; to be called when nothing of it is used any more.
    func release() { flock(descriptor, LOCK_UN) }
}

/// The variadic call under a name of its own.
private func openFile(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 { open(path, flags, mode) }
