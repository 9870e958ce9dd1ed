import DeploymentPlanning
import HubStore
import JSONDocument
import Model
import QueryLanguage
import SQLite
import Synchronization

/// All configurations with their conditions compiled; made anew when one of them changes.
struct ConfigurationCatalogue: Sendable {
    struct Entry: Sendable {
        let ranked: RankedConfiguration
        let condition: TargetCondition
    }

    private(set) var devices: [Entry] = []
    private(set) var edges: [Entry] = []
    private(set) var modules: [Entry] = []
    /// The first steps below `properties.reported` that a condition on devices, or on modules, reads.
    private var reportedOfDevices: Set<String> = []
    private var reportedOfModules: Set<String> = []

    var isEmpty: Bool { devices.isEmpty && edges.isEmpty && modules.isEmpty }

    init(_ configurations: [Configuration]) {
        for configuration in configurations {
            let scope = configuration.content.scope
            // It was compiled when it was put; one that no longer can be is passed over.
            guard let condition = try? TargetCondition(parsing: configuration.targetCondition, scope: scope) else {
                continue
            }
            let entry = Entry(ranked: RankedConfiguration(configuration), condition: condition)
            let reported = Set(condition.dependencies.compactMap(Self.reportedStep))
            switch scope {
            case .device:
                devices.append(entry)
                reportedOfDevices.formUnion(reported)
            case .edge:
                edges.append(entry)
                reportedOfDevices.formUnion(reported)
            case .module:
                modules.append(entry)
                reportedOfModules.formUnion(reported)
            }
        }
    }

    /// `*` stands for the section as a whole.
    private static func reportedStep(_ path: QueryPath) -> String? {
        guard case .member("properties")? = path.steps.first else { return nil }
        guard path.steps.count > 2, case .member(let name) = path.steps[2] else { return "*" }
        return name
    }

    /// Whether a change of a twin can change what a condition says of it.
    func depends(on change: TwinChange, ofModule isModule: Bool) -> Bool {
        if isModule, modules.isEmpty { return false }
        if !isModule, devices.isEmpty, edges.isEmpty { return false }
        if change.changesTags { return true }
        let read = isModule ? reportedOfModules : reportedOfDevices
        guard let names = change.reportedNames, !read.isEmpty else { return false }
        return read.contains("*") || names.contains { read.contains($0) }
    }
}

extension ConfigurationContent {
    var scope: TargetCondition.Scope {
        switch self {
        case .device: .device
        case .module: .module
        case .edge: .edge
        }
    }
}

/// Keeps the catalogue that belongs to the state of the database.
final class CatalogueCache: Sendable {
    private let kept = Mutex<(version: Int64, catalogue: ConfigurationCatalogue)?>(nil)

    func catalogue(in database: SQLiteDatabase) throws -> ConfigurationCatalogue {
        let version = try database.configurationsVersion()
        if let kept = kept.withLock({ $0 }), kept.version == version { return kept.catalogue }
        let catalogue = ConfigurationCatalogue(try database.configurations())
        kept.withLock { $0 = (version, catalogue) }
        return catalogue
    }
}
