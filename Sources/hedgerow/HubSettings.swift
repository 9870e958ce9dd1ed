import ArgumentParser
import Hub
import HubStore
import JSONDocument
import Logging
import Telemetry

/// What `hub run` was told: options come before the file, the file before what holds without both.
struct HubSettings {
    let server: HubServer.Options
    let logLevel: Logger.Level
    let logFormat: LogFormat

    init(_ command: HubRunCommand, _ file: HubConfigurationFile?) throws {
        func text(_ option: String?, _ key: String) throws -> String? { try option ?? file?.text(key) }
        func number(
            _ option: Int?, _ key: String, in range: ClosedRange<Int>, otherwise: Int
        ) throws -> Int {
            let value = try option ?? file?.number(key) ?? otherwise
            guard range.contains(value) else {
                throw ValidationError("\(key) is \(value); it goes from \(range.lowerBound) to \(range.upperBound)")
            }
            return value
        }
        var server = HubServer.Options(folder: command.location.data)
        server.hostName = try text(command.hostname, "hostname")
        server.name = try text(command.name, "name")
        server.bind = try text(command.bind, "bind") ?? "0.0.0.0"
        server.httpsPort = try number(command.httpsPort, "https_port", in: 0...65_535, otherwise: 443)
        server.mqttPort = try number(command.mqttPort, "mqtt_port", in: 0...65_535, otherwise: 8883)
        server.amqpPort = try number(command.amqpPort, "amqp_port", in: 0...65_535, otherwise: 5671)
        switch (try text(command.tlsCert, "tls_cert"), try text(command.tlsKey, "tls_key")) {
        case (let chain?, let key?): server.certificate = (chain, key)
        case (nil, nil): break
        default: throw ValidationError("a certificate and its key (--tls-cert and --tls-key) come together")
        }
        server.events.partitions = try number(command.partitions, "partitions", in: 1...32, otherwise: 4)
        let hours = try file?.number("retention_hours")
        let days = try number(command.retentionDays, "retention_days", in: 1...36_500, otherwise: 1)
        if let hours, command.retentionDays == nil {
            guard (1...876_000).contains(hours) else { throw ValidationError("retention_hours is at least 1") }
            server.events.retentionAge = .seconds(hours * 3600)
        } else {
            server.events.retentionAge = .seconds(days * 86_400)
        }
        let megabytes = try file?.number("retention_megabytes")
        let gigabytes = try number(
            command.retentionGigabytes, "retention_gigabytes", in: 1...1_000_000, otherwise: 8)
        if let megabytes, command.retentionGigabytes == nil {
            guard (16...1_000_000_000).contains(megabytes) else {
                throw ValidationError("retention_megabytes is at least 16")
            }
            server.events.retentionBytes = megabytes << 20
            // Messages go by the file, so files have to be a small part of what may stay.
            server.events.segmentBytes = min(server.events.segmentBytes, max(1 << 20, (megabytes << 20) / 8))
        } else {
            server.events.retentionBytes = gigabytes << 30
        }
        if let file, let routing = file.routing { server.routing = (routing, file.path) }
        self.server = server
        let level = try text(command.logLevel, "log_level") ?? "info"
        guard let known = Logger.Level(rawValue: level) else {
            throw ValidationError("\(level) is no level of the log")
        }
        logLevel = known
        let format = try text(command.logFormat, "log_format") ?? "plain"
        guard let known = LogFormat(rawValue: format) else { throw ValidationError("the log is plain or json") }
        logFormat = known
    }
}
