package import SolutionTemplate

extension Solution {
    /// The manifest that the default template gives on the default platform, relative to the working folder; whether it
    /// has been written is another question.
    package static func defaultManifest(_ environment: SolutionEnvironment) throws(SolutionError) -> String {
        try SolutionPlan(
            environment, templateFile: environment.defaultTemplate, platform: environment.defaultPlatform
        ).manifestFile
    }
}
