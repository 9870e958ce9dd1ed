import EdgeDaemon
import FoundationEssentials
import HubProtocol
import ServiceClient

/// The hub, reached with the device's own key.
struct DeviceAccess {
    let configuration: EdgeConfiguration

    init(_ configuration: EdgeConfiguration) { self.configuration = configuration }

    /// Tokens live for ten minutes and are made for each request.
    func client() throws(ServiceClientError) -> ServiceClient {
        let hub = configuration.hub
        let device = configuration.device
        let key = Data(device.key).base64EncodedString()
        let endpoint = ServiceEndpoint(
            hostName: configuration.upstreamHostName, port: hub.httpsPort, trustRootsPEM: hub.trustRootsPEM)
        return try ServiceClient(endpoint) {
            try SASToken.sign(
                resource: "\(hub.hostName)/devices/\(device.deviceID)", key: key,
                expiry: Int64(Date().timeIntervalSince1970) + 600
            ).text
        }
    }
}
