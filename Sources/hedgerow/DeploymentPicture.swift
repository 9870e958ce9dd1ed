import Terminal

/// A deployment on its way through a fleet, as one picture: a bar, a cell for each device (or for some, where they are
/// many), and what went wrong, with the most frequent reason first.
struct DeploymentPicture {
    private let status: DeploymentStatus
    private let width: Int
    private let isColoured: Bool

    private static let rows = 8
    private static let reasons = 8

    init(_ status: DeploymentStatus, width: Int = Terminal.width ?? 80, isColoured: Bool = Style.isOn) {
        self.status = status
        self.width = max(30, min(width, 120))
        self.isColoured = isColoured
    }

    /// - Parameter elapsed: seconds since the watch began.
    func lines(elapsed: Int) -> [String] {
        [head(elapsed), bar] + map + legend + failures
    }

    private func head(_ elapsed: Int) -> String {
        Style.strong(status.id, isOn: isColoured) + "  \(elapsed / 60):\(elapsed % 60 < 10 ? "0" : "")\(elapsed % 60)"
    }

    private var bar: String {
        let length = width - 8
        let total = max(status.targeted, status.devices.count, 1)
        let cells = { (count: Int) in count * length / total }
        let good = cells(status.succeeded)
        let bad = status.failed == 0 ? 0 : max(1, cells(status.failed))
        let under = max(0, cells(status.applied) - good - bad)
        let rest = max(0, length - good - bad - under)
        let percent = (status.succeeded + status.failed) * 100 / total
        return Style.good(String(repeating: "█", count: good), isOn: isColoured)
            + Style.bad(String(repeating: "█", count: bad), isOn: isColoured)
            + Style.waiting(String(repeating: "▒", count: under), isOn: isColoured)
            + Style.faint(String(repeating: "░", count: rest), isOn: isColoured) + "  \(percent) %"
    }

    /// How far a device has come; where a cell stands for several it shows the worst.
    private enum Stage: Int, Comparable {
        case succeeded, applied, targeted, failed

        init(_ device: DeploymentStatus.Device) {
            switch (device.status, device.code) {
            case ("Applied", 200?): self = .succeeded
            case ("Applied", nil): self = .applied
            case ("Applied", _): self = .failed
            default: self = .targeted
            }
        }

        static func < (left: Stage, right: Stage) -> Bool { left.rawValue < right.rawValue }

        var mark: String {
            switch self {
            case .succeeded: "■"
            case .applied: "▫"
            case .targeted: "·"
            case .failed: "✗"
            }
        }

        var style: Style {
            switch self {
            case .succeeded: .good
            case .applied: .waiting
            case .targeted: .faint
            case .failed: .bad
            }
        }
    }

    private var map: [String] {
        let stages = status.devices.sorted { $0.id < $1.id }.map(Stage.init)
        guard !stages.isEmpty else { return [] }
        let columns = width / 2
        let share = (stages.count + columns * Self.rows - 1) / (columns * Self.rows)
        let cells = stride(from: 0, to: stages.count, by: share).map { start in
            stages[start..<min(start + share, stages.count)].max() ?? .targeted
        }
        var lines = stride(from: 0, to: cells.count, by: columns).map { start in
            cells[start..<min(start + columns, cells.count)].map { $0.style($0.mark, isOn: isColoured) }
                .joined(separator: " ")
        }
        if share > 1 { lines.append(Style.faint("a mark stands for \(share) devices", isOn: isColoured)) }
        return lines
    }

    private var legend: [String] {
        let waiting = max(0, status.applied - status.succeeded - status.failed)
        return [
            "■ \(status.succeeded) succeeded   ✗ \(status.failed) failed   ▫ \(waiting) at work   "
                + "· \(max(0, status.devices.count - status.applied)) other deployment wins   of \(status.targeted)"
        ]
    }

    private var failures: [String] {
        var devices: [String: [String]] = [:]
        for device in status.devices where Stage(device) == .failed || !device.troubles.isEmpty {
            var reasons = device.troubles.map { "\($0.module): \($0.reason)" }
            if reasons.isEmpty { reasons = [device.description.isEmpty ? "no reason given" : device.description] }
            for reason in reasons { devices[reason, default: []].append(device.id) }
        }
        let ranked = devices.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }
        var lines = ranked.prefix(Self.reasons).map { reason, devices in
            let names = devices.sorted().prefix(3).joined(separator: ", ") + (devices.count > 3 ? ", …" : "")
            let line =
                "\(devices.count) × \(reason.split(whereSeparator: \.isNewline).joined(separator: " ")) (\(names))"
            return String(line.prefix(width))
        }
        if ranked.count > Self.reasons { lines.append("… and \(ranked.count - Self.reasons) other reasons") }
        return lines
    }
}
