/// Where in a file something stands, both counted from 1; the column counts characters.
package struct SourcePlace: Sendable, Hashable {
    package let line: Int
    package let column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }
}

/// What a solution lacks or does wrong: one sentence for the person who wrote it, with the place where it stands.
package struct SolutionError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable {
        /// A file or folder that the solution names does not exist or cannot be read.
        case missingFile
        /// A file is no JSON.
        case malformed
        /// A template or module description lacks a member, or has one of another kind.
        case badStructure
        /// A `createOptions` needs more than eight pieces of 512 characters.
        case createOptionsTooLarge
        /// An entry of `buildOptions` that is unknown or wrongly written.
        case badBuildOption
        /// A setting in the environment cannot be used as it is.
        case badSetting
        /// An image could not be built.
        case buildFailed
        /// An image could not be pushed.
        case pushFailed
        /// The manifest breaks the schema and the caller asked to fail then.
        case invalidManifest
        /// A placeholder or variable stays and the caller asked to fail then.
        case unresolved
        /// The container engine does not answer or is of a wrong kind.
        case engine
        /// The hub refused what it was asked.
        case hub
        /// A file could not be written.
        case unwritable
    }

    package let code: Code
    package let reason: String
    /// As the user knows it.
    package let file: String?
    package let place: SourcePlace?

    package init(_ code: Code, _ reason: String, file: String? = nil, place: SourcePlace? = nil) {
        self.code = code
        self.reason = reason
        self.file = file
        self.place = place
    }

    package var description: String {
        guard let file else { return reason }
        guard let place else { return "\(file): \(reason)" }
        return "\(file):\(place.line):\(place.column): \(reason)"
    }
}
