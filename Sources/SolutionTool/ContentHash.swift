import Crypto
import JSONDocument
import SolutionTemplate

/// What stands for `${CONTENT_HASH}` in a version: the same on every machine for the same files.
enum ContentHash {
    /// How many digits a tag gets.
    private static let length = 12

    /// - Parameter dockerfile: relative to the module's folder, as is the context.
    static func of(
        _ module: ModuleDescription, dockerfile: String, platform: String, folder: String,
        _ environment: SolutionEnvironment
    ) throws(SolutionError) -> String {
        let moduleFolder = environment.path(folder)
        let context = try BuildContext(
            folder: Paths.normalized(Paths.join(moduleFolder, module.contextPath)),
            dockerfile: Paths.normalized(Paths.join(moduleFolder, dockerfile)), of: module, platform: platform,
            in: folder)
        var hash = SHA256()
        hash.update(data: Array("1 \(platform) \(module.buildOptions?.text(.canonical) ?? "")\n".utf8))
        hash.update(data: Array(try context.contentDigest(isPortable: true).utf8))
        return String(hash.finalize().hexadecimal.prefix(length))
    }
}
