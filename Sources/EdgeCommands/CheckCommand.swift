import ArgumentParser
import JSONDocument
import Terminal

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Find out what is wrong with this device, and how to mend it.",
        discussion: "Exit status 1 when something is wrong.\n\nExample: hedgerow edge check")

    @OptionGroup var device: ConfigurationOption
    @OptionGroup var format: OutputOptions

    func run() async throws {
        var findings: [DeviceCheck.Finding] = []
        do {
            let configuration = try device.read()
            findings.append(DeviceCheck.Finding(name: "configuration", detail: device.file))
            findings += await DeviceCheck(configuration).findings()
        } catch {
            findings.append(
                DeviceCheck.Finding(
                    name: "configuration", trouble: "\(error)",
                    remedy: "Mend the file, or write a new one with `hedgerow edge apply CONNECTION-STRING`."))
        }
        switch format.output {
        case .json:
            Terminal.result(JSONValue(findings.map(\.json)).text(.pretty))
        case .table:
            for finding in findings {
                guard let trouble = finding.trouble else {
                    Terminal.result("✓ \(finding.name)" + (finding.detail.map { ": \($0)" } ?? ""))
                    continue
                }
                Terminal.result("✗ \(finding.name): \(trouble)" + (finding.remedy.map { "\n    \($0)" } ?? ""))
            }
        }
        if findings.contains(where: { $0.trouble != nil }) { throw ExitCode(1) }
    }
}
