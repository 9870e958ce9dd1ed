import Model
import Transport

extension ServiceResponder {
    func carryOutConfigurations(
        _ route: ServiceRoute, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        throw HubError(.invalidOperation, "This hub does not serve configurations.")
    }

    func applyConfiguration(
        _ device: String, _ request: HTTPRequest, _ caller: ServiceCaller
    ) async throws(HubError) -> HTTPResponse {
        throw HubError(.invalidOperation, "This hub does not serve configurations.")
    }

    func query(_ request: HTTPRequest) async throws(HubError) -> HTTPResponse {
        throw HubError(.invalidOperation, "This hub does not serve queries.")
    }
}
