import FoundationEssentials
import HubProtocol
import Model
import NIOCore
import NIOHTTP1
import Synchronization
import Transport

/// The part of a blob store's interface that devices upload with, and services read with: Put Blob, Put Block, Put Block
/// List, Get Blob, Get Blob Properties, Delete Blob.
///
/// Devices show the token that they were given; services a token of a policy with ServiceConnect.
struct BlobResponder: Sendable {
    let desk: FileDesk

    /// What a put may hold at once; of a larger file clients make blocks.
    static let bodyLimit = 100 << 20
    /// Read from the disk at a time.
    private static let portion = 1 << 20

    /// Nil when the path is another's.
    func answer(_ request: HTTPRequest) async -> HTTPResponse? {
        guard let call = BlobCall(request.method, request.path, request.query) else { return nil }
        do throws(HubError) {
            guard IdentityKey.isValid(call.device), FileDesk.isName(call.blob) else {
                throw HubError(.argumentInvalid, "The path names no file.")
            }
            return try await carryOut(call, request)
        } catch {
            return Self.refusal(error)
        }
    }

    /// For `HTTPLimits`: whoever may upload a file may send that much.
    var largerBody: @Sendable (HTTPRequestHead) -> Int? {
        { head in
            guard head.method == .PUT, head.uri.hasPrefix("/\(FileDesk.container)/"),
                let target = HTTPTarget(parsing: head.uri), let call = BlobCall(.PUT, target.path, target.query),
                desk.allows(target.query, call.blob, of: call.device)
            else { return nil }
            return Self.bodyLimit
        }
    }

    private func carryOut(_ call: BlobCall, _ request: HTTPRequest) async throws(HubError) -> HTTPResponse {
        let (device, blob) = (call.device, call.blob)
        let isDevice = desk.allows(request.query, blob, of: device)
        switch call.operation {
        case .put, .putBlock, .putBlockList:
            guard isDevice else { throw Self.forbidden("The token is not for this file, or has ended.") }
            guard try await desk.isOpen(blob, of: device) else {
                throw Self.forbidden("The upload of this file was not begun, or has ended.")
            }
        case .get, .head:
            if !isDevice { try await requireService(request) }
        case .remove: try await requireService(request)
        case nil: throw HubError(.genericBadRequest, "This is not offered of files.")
        }
        let body = Array(request.body.readableBytesView)
        switch call.operation {
        case .put:
            let type = request.headers.first(name: "x-ms-blob-type")
            guard type == nil || type?.lowercased() == "blockblob" else {
                throw HubError(.argumentInvalid, "Only block blobs are offered.")
            }
            return Self.created(try await desk.store.put(blob, of: device, body))
        case .putBlock(let id):
            try await desk.store.putBlock(id, of: blob, device, body)
            return Self.created(nil)
        case .putBlockList:
            guard let blocks = BlobCall.blocks(body) else {
                throw HubError(.argumentInvalid, "The body is no list of blocks.")
            }
            return Self.created(try await desk.store.commit(blocks, of: blob, device))
        case .get, .head: return try await read(call, request)
        case .remove:
            guard try await desk.store.remove(blob, of: device) else { throw Self.absent }
            return HTTPResponse(status: .accepted, headers: Self.headers)
        case nil: throw Self.absent
        }
    }

    private func requireService(_ request: HTTPRequest) async throws(HubError) {
        do throws(HubError) {
            try await ServiceCaller.find(for: request, in: desk.registry, hostNames: desk.hostNames)
                .require(.serviceConnect)
        } catch {
            throw Self.forbidden(error.message)
        }
    }

    private func read(_ call: BlobCall, _ request: HTTPRequest) async throws(HubError) -> HTTPResponse {
        let (store, blob, device) = (desk.store, call.blob, call.device)
        guard let facts = try await store.facts(of: blob, device) else { throw Self.absent }
        let header = request.headers.first(name: "x-ms-range") ?? request.headers.first(name: "range")
        let range = call.operation == .get ? BlobCall.range(header, of: facts.size) : nil
        var headers = Self.headers
        headers.add(name: "etag", value: facts.etag)
        headers.add(name: "last-modified", value: HTTPDate.text(facts.modified))
        headers.add(name: "content-type", value: "application/octet-stream")
        headers.add(name: "accept-ranges", value: "bytes")
        headers.add(name: "x-ms-blob-type", value: "BlockBlob")
        let wanted = range ?? 0..<facts.size
        headers.add(name: "content-length", value: String(wanted.count))
        if let range {
            headers.add(name: "content-range", value: "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(facts.size)")
        }
        let status: HTTPResponseStatus = range == nil ? .ok : .partialContent
        guard call.operation == .get else { return HTTPResponse(status: status, headers: headers) }
        // Asked for one piece at a time.
        let offset = Mutex(wanted.lowerBound)
        let stream = AsyncStream<ByteBuffer> {
            let start = offset.withLock { $0 }
            let left = wanted.upperBound - start
            guard left > 0,
                let bytes = try? await store.read(
                    blob, of: device, from: start, count: Int(min(left, Int64(Self.portion)))), !bytes.isEmpty
            else { return nil }
            offset.withLock { $0 += Int64(bytes.count) }
            return ByteBuffer(bytes: bytes)
        }
        return HTTPResponse(status: status, headers: headers, body: .stream(stream))
    }

    // MARK: Answers

    private static var headers: HTTPHeaders {
        [
            "x-ms-version": "2021-08-06",
            "x-ms-request-id": String(UInt64.random(in: .min ... .max), radix: 16),
        ]
    }

    private static func created(_ facts: FileStore.Facts?) -> HTTPResponse {
        var headers = headers
        headers.add(name: "x-ms-request-server-encrypted", value: "false")
        if let facts {
            headers.add(name: "etag", value: facts.etag)
            headers.add(name: "last-modified", value: HTTPDate.text(facts.modified))
        }
        return HTTPResponse(status: .created, headers: headers)
    }

    private static let absent = HubError(.genericNotFound, "There is no such file.")

    private static func forbidden(_ message: String) -> HubError { HubError(.iotHubUnauthorizedAccess, message) }

    /// As clients of blob stores read it.
    private static func refusal(_ error: HubError) -> HTTPResponse {
        let (status, code): (Int, String) =
            switch error.code.status {
            case 401: (403, "AuthenticationFailed")
            case 404: (404, "BlobNotFound")
            case 413: (413, "RequestBodyTooLarge")
            case 400: (400, "InvalidInput")
            default: (error.code.status, "ServerBusy")
            }
        var headers = headers
        headers.add(name: "x-ms-error-code", value: code)
        headers.add(name: "content-type", value: "application/xml")
        let message = error.message.replacing("&", with: "&amp;").replacing("<", with: "&lt;")
        let body =
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>\(code)</Code><Message>\(message)</Message></Error>"
        return HTTPResponse(
            status: HTTPResponseStatus(statusCode: status), headers: headers, body: .bytes(ByteBuffer(string: body)))
    }
}
