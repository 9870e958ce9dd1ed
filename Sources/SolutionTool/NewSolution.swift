package import SolutionTemplate

/// The versions of the runtime's images that a new solution can name.
package enum EdgeRuntimeVersion {
    package static let known = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]
}

/// Makes the folder of a solution.
package struct NewSolution: Sendable {
    private let environment: SolutionEnvironment

    package init(_ environment: SolutionEnvironment) { self.environment = environment }

    /// - Parameters:
    ///   - name: the folder, relative to the working folder; `.` for that one itself.
    ///   - runtime: the version of the runtime's images.
    /// - Returns: the files made, relative to the working folder.
    /// - Throws: `badSetting` when the folder is not empty or the module's name is no name.
    package func make(
        _ name: String, module: String, language: ModuleLanguage, runtime: String
    ) throws(SolutionError) -> [String] {
        try NewModule.check(module)
        let folder = Paths.join(environment.workingFolder, name)
        if let present = LocalFiles.names(in: folder), !present.isEmpty {
            throw SolutionError(.badSetting, "the folder is not empty; choose a new or an empty one", file: name)
        }
        try LocalFiles.makeFolder(folder)
        let schema = runtime == "1.0" ? "1.0" : "1.1"
        let template = Self.template(schema: schema)
        let files = [
            ("deployment.template.json", template), ("deployment.debug.template.json", template),
            (".env", Self.environmentFile(runtime: runtime)), (".gitignore", "config/\n.env\n.hedgerow/\n"),
        ]
        for (file, text) in files { try LocalFiles.write(Array(text.utf8), to: Paths.join(folder, file)) }
        let inside = try SolutionEnvironment(process: [:], workingFolder: folder)
        let added = try NewModule(inside).add(module, language: language)
        let names = files.map(\.0)
        return (names + added.filter { !names.contains($0) }).map { Paths.normalized(Paths.join(name, $0)) }
    }

    private static func environmentFile(runtime: String) -> String {
        """
        # Variables for deployment.template.json and the module.json files. Keep this file out of version control.
        CONTAINER_REGISTRY_SERVER=localhost:5000
        CONTAINER_REGISTRY_USERNAME=
        CONTAINER_REGISTRY_PASSWORD=
        EDGE_RUNTIME_VERSION=\(runtime)
        # IOTHUB_CONNECTION_STRING=
        # DEVICE_CONNECTION_STRING=

        """
    }

    private static func template(schema: String) -> String {
        """
        {
          "$schema-template": "4.0.0",
          "modulesContent": {
            "$edgeAgent": {
              "properties.desired": {
                "schemaVersion": "\(schema)",
                "runtime": {
                  "type": "docker",
                  "settings": {
                    "minDockerVersion": "v1.25",
                    "loggingOptions": "",
                    "registryCredentials": {}
                  }
                },
                "systemModules": {
                  "edgeAgent": {
                    "type": "docker",
                    "settings": {
                      "image": "mcr.microsoft.com/azureiotedge-agent:${EDGE_RUNTIME_VERSION}",
                      "createOptions": {}
                    }
                  },
                  "edgeHub": {
                    "type": "docker",
                    "status": "running",
                    "restartPolicy": "always",
                    "settings": {
                      "image": "mcr.microsoft.com/azureiotedge-hub:${EDGE_RUNTIME_VERSION}",
                      "createOptions": {
                        "HostConfig": {
                          "PortBindings": {
                            "5671/tcp": [{ "HostPort": "5671" }],
                            "8883/tcp": [{ "HostPort": "8883" }],
                            "443/tcp": [{ "HostPort": "443" }]
                          }
                        }
                      }
                    }
                  }
                },
                "modules": {}
              }
            },
            "$edgeHub": {
              "properties.desired": {
                "schemaVersion": "\(schema)",
                "routes": {},
                "storeAndForwardConfiguration": {
                  "timeToLiveSecs": 7200
                }
              }
            }
          }
        }

        """
    }
}
