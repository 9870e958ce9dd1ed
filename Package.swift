// swift-tools-version:6.2
import PackageDescription

/// Every target: Swift 6 with strict concurrency, explicit existentials, and warnings as errors.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket = Target.Dependency.product(name: "NIOWebSocket", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "_CryptoExtras", package: "swift-crypto")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let collections = Target.Dependency.product(name: "Collections", package: "swift-collections")

/// A library target of one of the floors that `docs/architecture.md` draws, together with its tests.
func room(
    _ name: String, _ dependencies: [Target.Dependency] = [], tests: [Target.Dependency] = [],
    resources: [Resource] = [], testResources: [Resource] = [], linkerSettings: [LinkerSetting] = []
) -> [Target] {
    [
        .target(
            name: name, dependencies: dependencies, resources: resources, swiftSettings: strict,
            linkerSettings: linkerSettings),
        .testTarget(
            name: "\(name)Tests", dependencies: [.byName(name: name)] + dependencies + tests,
            resources: testResources, swiftSettings: strict),
    ]
}

let words: [[Target]] = [
    room("JSONDocument"),
    room("Archive"),
    room("TOMLDocument"),
    room("Model", ["JSONDocument"]),
    room("QueryLanguage", ["JSONDocument"]),
    room("DeploymentPlanning", ["JSONDocument", "Model", "QueryLanguage"]),
    room("ModuleReconciling", ["JSONDocument", "Model"]),
    room("SolutionTemplate", ["JSONDocument", "Model", "QueryLanguage"]),
]

let wires: [[Target]] = [
    room("MQTTCodec", [nioCore]),
    room("AMQPCodec", [nioCore]),
    room("HubProtocol", ["JSONDocument", "Model", nioCore, crypto]),
]

let ports: [[Target]] = [
    room("Telemetry", [logging]),
    room("SQLite", ["CSQLite"]),
    room("PKI", ["Model", crypto, x509, asn1]),
    room(
        "Transport", ["Telemetry", logging, nioCore, nioPosix, nioHTTP1, nioWebSocket, nioSSL],
        tests: [nioEmbedded]),
    room(
        "DeviceGateway",
        [
            "JSONDocument", "Model", "MQTTCodec", "AMQPCodec", "HubProtocol", "Transport", "Telemetry", logging,
            nioCore, nioPosix, nioHTTP1, nioWebSocket, nioSSL,
        ], tests: ["DeviceClient", nioEmbedded]),
    room(
        "DeviceClient",
        [
            "JSONDocument", "Model", "MQTTCodec", "AMQPCodec", "HubProtocol", "Transport", "Telemetry", logging,
            nioCore, nioPosix, nioSSL, crypto,
        ], tests: [nioEmbedded]),
    room(
        "ServiceClient",
        [
            "JSONDocument", "Model", "HubProtocol", "Telemetry", logging, asyncHTTPClient, nioCore, nioPosix, nioHTTP1,
            nioSSL,
        ],
        tests: ["PKI", "Transport"]),
    room("DockerEngine", ["JSONDocument", "Telemetry", logging, asyncHTTPClient, nioCore, nioHTTP1, nioPosix]),
    room(
        "ImageRegistry", ["JSONDocument", "Telemetry", asyncHTTPClient, nioCore, nioHTTP1, nioSSL, crypto],
        tests: ["Transport", "PKI"]),
    room(
        "HubStore", ["JSONDocument", "Model", "QueryLanguage", "HubProtocol", "SQLite", "Telemetry", logging, nioCore]),
    room(
        "Sinks",
        [
            "JSONDocument", "MQTTCodec", "Telemetry", logging, asyncHTTPClient, nioCore, nioPosix, nioHTTP1, nioSSL,
        ], tests: ["Transport"]),
    room("EdgeStore", ["JSONDocument", "Model", "HubProtocol", "SQLite", "Telemetry", logging, nioCore]),
]

let services: [[Target]] = [
    room(
        "Hub",
        [
            "JSONDocument", "Model", "QueryLanguage", "DeploymentPlanning", "HubProtocol", "HubStore",
            "DeviceGateway", "Transport", "PKI", "SQLite", "Sinks", "TOMLDocument", "Telemetry", logging, collections,
            nioCore, nioPosix, nioHTTP1, crypto, cryptoExtras,
        ], tests: ["MQTTCodec", nioSSL, asyncHTTPClient]),
    room(
        "Dashboard",
        ["JSONDocument", "Model", "HubProtocol", "Transport", "Telemetry", logging, nioCore, nioHTTP1, crypto]),
    room(
        "EdgeDaemon",
        [
            "JSONDocument", "TOMLDocument", "Model", "HubProtocol", "PKI", "ServiceClient", "DockerEngine",
            "Transport", "Telemetry", logging, nioCore, nioPosix, nioHTTP1, crypto,
        ]),
    room(
        "EdgeAgent",
        [
            "JSONDocument", "Archive", "Model", "ModuleReconciling", "HubProtocol", "DockerEngine", "DeviceClient",
            "EdgeStore", "Telemetry", logging, nioCore,
        ], tests: [nioPosix]),
    room(
        "EdgeHub",
        [
            "JSONDocument", "Model", "QueryLanguage", "HubProtocol", "EdgeStore", "DeviceGateway", "DeviceClient",
            "Transport", "PKI", "Telemetry", logging, collections, nioCore, nioPosix, nioHTTP1, crypto,
        ]),
    room(
        "SolutionTool",
        [
            "JSONDocument", "Model", "QueryLanguage", "SolutionTemplate", "DockerEngine", "ImageRegistry",
            "ServiceClient", "Telemetry", logging, subprocess, system, crypto, nioCore, nioHTTP1,
        ]),
    room(
        "HedgerowDevice",
        ["DeviceClient", "HubProtocol", "JSONDocument", "Model", logging, nioCore, nioPosix, nioHTTP1],
        tests: ["DeviceGateway", "Transport", "PKI"]),
    room(
        "SingleMachine",
        [
            "JSONDocument", "Model", "HubProtocol", "DockerEngine", "ServiceClient", "Telemetry", logging, subprocess,
            system, nioCore,
        ], linkerSettings: [.linkedLibrary("crypt")]),
]

let programs: [Target] = [
    .target(
        name: "Terminal", dependencies: ["JSONDocument", arguments], swiftSettings: strict),
    .target(
        name: "EdgeCommands",
        dependencies: [
            "Terminal", "JSONDocument", "TOMLDocument", "Archive", "Model", "HubProtocol", "EdgeDaemon", "EdgeAgent",
            "EdgeHub", "EdgeStore", "DockerEngine", "DeviceClient", "DeviceGateway", "ServiceClient", "PKI",
            "Transport",
            "Telemetry", "ModuleReconciling", asyncHTTPClient, logging, arguments, subprocess, nioCore, nioHTTP1,
            nioPosix, nioSSL,
        ], swiftSettings: strict),
    .testTarget(
        name: "EdgeCommandsTests",
        dependencies: [
            "EdgeCommands", "JSONDocument", "TOMLDocument", "EdgeDaemon", "PKI", "Transport", logging, nioCore,
            nioHTTP1,
        ], swiftSettings: strict),
    .executableTarget(
        name: "hedgerow",
        dependencies: [
            "Terminal", "EdgeCommands", "JSONDocument", "Model", "QueryLanguage", "HubProtocol", "SolutionTemplate",
            "Hub", "HubStore", "Dashboard", "SolutionTool", "SingleMachine", "ServiceClient", "DeviceClient",
            "DockerEngine", "DeviceGateway", "PKI", "Transport", "Telemetry", logging, arguments, nioCore, nioPosix,
        ], swiftSettings: strict),
    .executableTarget(
        name: "hedgerow-edge", dependencies: ["EdgeCommands", "Terminal", arguments], swiftSettings: strict),
    .testTarget(
        name: "FuzzTests",
        dependencies: [
            "AMQPCodec", "HubProtocol", "JSONDocument", "MQTTCodec", "Model", "ModuleReconciling", "QueryLanguage",
            "SolutionTemplate", "TOMLDocument", nioCore,
        ], swiftSettings: strict),
    .testTarget(
        name: "EndToEndTests",
        dependencies: [
            "JSONDocument", "Model", "HubProtocol", "ServiceClient", "DeviceClient", "HedgerowDevice", "DockerEngine",
            "SingleMachine", subprocess, system, logging, nioCore, nioPosix, nioHTTP1, asyncHTTPClient,
        ],
        exclude: ["Vectors", "Python"], swiftSettings: strict),
]

let package = Package(
    name: "hedgerow",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "hedgerow", targets: ["hedgerow"]),
        .executable(name: "hedgerow-edge", targets: ["hedgerow-edge"]),
        .library(name: "HedgerowDevice", targets: ["HedgerowDevice"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    ],
    targets: [.systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])])]
        + (words + wires + ports + services).flatMap(\.self) + programs
)
