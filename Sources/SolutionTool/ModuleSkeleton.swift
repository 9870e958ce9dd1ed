import JSONDocument

/// The files with which a module begins.
struct ModuleSkeleton: Sendable {
    /// Relative to the module's folder.
    let files: [(name: String, text: String)]
    /// The create options of its entry in the debug template.
    let debugOptions: JSONValue

    /// - Returns: nil for a language without a skeleton.
    static func make(_ name: String, _ language: ModuleLanguage) -> ModuleSkeleton? {
        switch language {
        case .python: python(name)
        case .nodejs: nodejs(name)
        case .csharp: csharp(name)
        case .generic: generic(name)
        case .c, .csharpfunction, .java: nil
        }
    }

    static let platforms = ["amd64", "arm32v7", "arm64v8"]

    /// The Dockerfiles of all platforms, in the plain and the debug flavour.
    static func dockerfiles(_ plain: String, debug: String) -> [(name: String, text: String)] {
        platforms.flatMap { [("Dockerfile.\($0)", plain), ("Dockerfile.\($0).debug", debug)] }
    }

    static func description(_ name: String, language: String) -> String {
        let files = platforms.flatMap { [$0, "\($0).debug"] }.map { ($0, JSONValue.string("./Dockerfile.\($0)")) }
        let json: JSONValue = [
            "$schema-version": "0.0.1", "description": "",
            "image": [
                "repository": .string("${CONTAINER_REGISTRY_SERVER}/\(name.lowercased())"),
                "tag": ["version": "0.0.1", "platforms": .object(JSONObject(files))],
                "buildOptions": [], "contextPath": "./",
            ],
            "language": .string(language),
        ]
        return json.text(.pretty) + "\n"
    }

    /// A port of the debugger, open on the device.
    static func debugPort(_ port: Int) -> JSONValue {
        let key = "\(port)/tcp"
        return [
            "ExposedPorts": .object([key: [:]]),
            "HostConfig": ["PortBindings": .object([key: [["HostPort": .string("\(port)")]]])],
        ]
    }
}
