import Crypto
import FoundationEssentials
import JSONDocument
import NIOCore
import NIOHTTP1
package import Transport

/// The workload API of one module, on the module's own socket (edge-runtime.md, C.3).
///
/// The socket is the proof of who calls: it is mounted into the container of that module and nowhere else, so a
/// request that names another module is refused.
package struct WorkloadResponder: HTTPResponder {
    let moduleID: String
    let register: ModuleIdentityRegister
    let derivation: ModuleKeyDerivation
    let certificates: EdgeCertificates

    private static let versions: Set<String> = ["2018-06-28", "2019-01-30", "2020-07-07"]

    package init(
        moduleID: String, register: ModuleIdentityRegister, derivation: ModuleKeyDerivation,
        certificates: EdgeCertificates
    ) {
        self.moduleID = moduleID
        self.register = register
        self.derivation = derivation
        self.certificates = certificates
    }

    package func respond(to request: HTTPRequest) async -> HTTPResponse {
        do {
            let body = try await answer(request)
            // Certificates are made, everything else is answered (edge-runtime.md, C.3).
            return .json(request.path.contains("certificate") ? .created : .ok, body)
        } catch let refusal as DaemonRefusal {
            return .json(refusal.status, ["message": .string(refusal.message)])
        } catch {
            return .json(.internalServerError, ["message": .string("\(error)")])
        }
    }

    private func answer(_ request: HTTPRequest) async throws -> JSONValue {
        guard let version = request.parameter("api-version"), Self.versions.contains(version) else {
            throw DaemonRefusal(
                .badRequest, "api-version has to be one of \(Self.versions.sorted().joined(separator: ", "))")
        }
        switch (request.method, request.path.count) {
        case (.GET, 1) where request.path[0] == "trust-bundle":
            return ["certificate": .string(await certificates.trustBundlePEM)]
        case (.POST, 5) where request.path[0] == "modules" && request.path[2] == "genid":
            return try await keyOperation(request)
        case (.POST, 6) where request.path[0] == "modules" && request.path[4] == "certificate":
            return try await serverCertificate(request)
        case (.POST, 4) where request.path[0] == "modules" && request.path[2] == "certificate":
            return try await identityCertificate(request)
        default:
            throw DaemonRefusal(.notFound, "there is no \(request.method) \(request.target) in the workload API")
        }
    }

    private func caller(_ named: String) async throws -> RegisteredModule {
        guard named == moduleID else {
            throw DaemonRefusal(.forbidden, "this socket belongs to module \(moduleID) and answers for no other")
        }
        guard let identity = await register.known(moduleID) else {
            throw DaemonRefusal(.notFound, "module \(moduleID) has no identity yet")
        }
        return identity
    }

    private func keyOperation(_ request: HTTPRequest) async throws -> JSONValue {
        let identity = try await caller(request.path[1])
        guard request.path[3] == identity.generationID else {
            throw DaemonRefusal(.notFound, "module \(moduleID) has no generation \(request.path[3])")
        }
        let body = try Self.body(request)
        switch request.path[4] {
        case "sign":
            let data = try Self.base64(body, "data")
            return ["digest": .string(Data(derivation.sign(data, as: identity)).base64EncodedString())]
        case "encrypt":
            let sealed = try WorkloadCipher(derivation, identity).encrypt(
                Self.base64(body, "plaintext"), initializationVector: Self.base64(body, "initializationVector"))
            return ["ciphertext": .string(Data(sealed).base64EncodedString())]
        case "decrypt":
            let opened = try WorkloadCipher(derivation, identity).decrypt(
                Self.base64(body, "ciphertext"), initializationVector: Self.base64(body, "initializationVector"))
            return ["plaintext": .string(Data(opened).base64EncodedString())]
        default:
            throw DaemonRefusal(.notFound, "there is no operation \(request.path[4])")
        }
    }

    private func serverCertificate(_ request: HTTPRequest) async throws -> JSONValue {
        _ = try await caller(request.path[1])
        guard request.path[2] == "genid", request.path[5] == "server" else {
            throw DaemonRefusal(.notFound, "there is no such certificate")
        }
        guard let name = try Self.body(request)["commonName"]?.string, !name.isEmpty, name.utf8.count <= 253 else {
            throw DaemonRefusal(.badRequest, "commonName is missing")
        }
        return try await certificates.server(commonName: name, moduleID: moduleID).json
    }

    private func identityCertificate(_ request: HTTPRequest) async throws -> JSONValue {
        _ = try await caller(request.path[1])
        guard request.path[3] == "identity" else { throw DaemonRefusal(.notFound, "there is no such certificate") }
        return try await certificates.identity(moduleID: moduleID).json
    }

    private static func body(_ request: HTTPRequest) throws -> JSONValue {
        do {
            return try JSONValue(parsing: request.body.readableBytesView)
        } catch {
            throw DaemonRefusal(.badRequest, "the body is no JSON: \(error)")
        }
    }

    private static func base64(_ body: JSONValue, _ member: String) throws -> Data {
        guard let text = body[member]?.string, let data = Data(base64Encoded: text) else {
            throw DaemonRefusal(.badRequest, "\(member) has to be a text in base64")
        }
        return data
    }
}

/// A request that the daemon's interfaces turn down.
struct DaemonRefusal: Error {
    let status: HTTPResponseStatus
    let message: String

    init(_ status: HTTPResponseStatus, _ message: String) {
        self.status = status
        self.message = message
    }
}

extension HTTPResponse {
    static func json(_ status: HTTPResponseStatus, _ body: JSONValue) -> HTTPResponse {
        HTTPResponse(
            status: status, headers: ["content-type": "application/json"], body: .bytes(ByteBuffer(bytes: body.bytes()))
        )
    }
}
