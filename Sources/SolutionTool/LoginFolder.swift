import DockerEngine
import FoundationEssentials
import JSONDocument
import SolutionTemplate
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A folder with logins for one run of a program that reads them from a file: those of the person, and ours.
/// Nobody else can read it, and it is removed afterwards.
struct LoginFolder: Sendable {
    /// What `DOCKER_CONFIG` is to name; nil when the person's own folder does.
    let folder: String?

    /// The file as Podman and Buildah take it.
    var file: String? { folder.map { $0 + "/config.json" } }

    init(_ credentials: [RegistryCredential], _ environment: SolutionEnvironment) throws(SolutionError) {
        guard !credentials.isEmpty else {
            folder = nil
            return
        }
        let base = environment.variables["XDG_RUNTIME_DIR"].flatMap { LocalFiles.isFolder($0) ? $0 : nil } ?? "/tmp"
        var template = Array("\(base)/hedgerow-logins-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw SolutionError(.unwritable, "no folder for logins can be made", file: base)
        }
        let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.folder = folder
        let own = RegistryLogins.dockerFolder(environment)
        var configuration =
            (try? LocalFiles.read(own + "/config.json")).flatMap { try? JSONValue(parsing: $0) }?.object ?? JSONObject()
        var logins = configuration["auths"]?.object ?? JSONObject()
        for credential in credentials {
            let text = Data("\(credential.userName):\(credential.password)".utf8).base64EncodedString()
            logins[credential.address] = ["auth": .string(text)]
            // A helper would be asked first.
            configuration["credHelpers"] = configuration["credHelpers"].map { helpers in
                var helpers = helpers.object ?? JSONObject()
                helpers[credential.address] = nil
                return .object(helpers)
            }
        }
        configuration["auths"] = .object(logins)
        configuration["credsStore"] = nil
        // Plugins such as buildx lie beside the file.
        symlink(own + "/cli-plugins", folder + "/cli-plugins")
        symlink(own + "/buildx", folder + "/buildx")
        try LocalFiles.write(
            JSONValue.object(configuration).bytes(), to: folder + "/config.json", permissions: [.ownerReadWrite])
    }

    func remove() {
        guard let folder else { return }
        for name in ["config.json", "cli-plugins", "buildx"] { unlink("\(folder)/\(name)") }
        // The program may have left files of its own.
        for name in LocalFiles.names(in: folder) ?? [] { unlink("\(folder)/\(name)") }
        rmdir(folder)
    }
}
