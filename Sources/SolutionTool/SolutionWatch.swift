package import SolutionTemplate

/// The files of which a solution's images and manifest are made.
package struct SolutionWatch: Sendable {
    let environment: SolutionEnvironment
    let templateFile: String
    let platform: String

    package init(_ environment: SolutionEnvironment, templateFile: String, platform: String) {
        self.environment = environment
        self.templateFile = templateFile
        self.platform = platform
    }

    /// Begins to watch; what changes from here on is told by `FolderWatch.change`.
    package func begin() throws(SolutionError) -> FolderWatch {
        try FolderWatch(try folders(), except: Paths.normalized(environment.path(environment.outputFolder)))
    }

    /// Absolute; none inside another one.
    private func folders() throws(SolutionError) -> [String] {
        var folders = [Paths.normalized(Paths.folder(of: environment.path(templateFile)))]
        if let plan = try? SolutionPlan(environment, templateFile: templateFile, platform: platform) {
            for product in plan.products {
                let folder = environment.path(product.folder)
                folders.append(Paths.normalized(folder))
                folders.append(Paths.normalized(Paths.join(folder, product.module.contextPath)))
            }
        } else {
            // A mistake somewhere; its file lies in one of these.
            folders.append(Paths.normalized(Paths.join(folders[0], environment.modulesPath)))
        }
        let all = Set(folders)
        return all.filter { inner in
            !all.contains { $0 != inner && Paths.relative(inner, inside: $0) != nil }
        }.sorted()
    }
}
