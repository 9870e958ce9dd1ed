package import JSONDocument

extension RoutingDocument {
    /// The settings as they are written.
    ///
    /// - Parameter showsSecrets: whether passwords and the values of headers are in it, or stars in their place.
    package func json(showsSecrets: Bool) -> JSONValue {
        [
            "endpoints": .array(endpoints.map { $0.json(showsSecrets: showsSecrets) }),
            "routes": .array(routes.map(\.json)), "fallbackRoute": fallback.json,
            "enrichments": .array(
                enrichments.map {
                    [
                        "key": .string($0.key), "value": .string($0.value),
                        "endpointNames": .array($0.endpointNames.map(JSONValue.string)),
                    ]
                }),
        ]
    }
}

extension RoutingDocument.Route {
    fileprivate var json: JSONValue {
        [
            "name": .string(name), "source": .string(RoutingDocument.name(of: source)),
            "condition": .string(condition), "endpointNames": .array(endpointNames.map(JSONValue.string)),
            "isEnabled": .bool(isEnabled),
        ]
    }
}

extension RoutingDocument.Endpoint {
    package var typeName: String {
        switch kind {
        case .file: "file"
        case .webhook: "webhook"
        case .broker: "mqtt"
        }
    }

    fileprivate func json(showsSecrets: Bool) -> JSONValue {
        var json: JSONObject = ["name": .string(name), "type": .string(typeName)]
        func shown(_ secret: String) -> JSONValue { .string(showsSecrets ? secret : RoutingDocument.redacted) }
        switch kind {
        case .file(let path, let maximumBytes, let maximumFiles):
            json["path"] = .string(path)
            json["maximumBytes"] = JSONValue(maximumBytes)
            json["maximumFiles"] = JSONValue(maximumFiles)
        case .webhook(let url, let headers, let maximumMessages, let roots):
            json["url"] = .string(url)
            if !headers.isEmpty {
                json["headers"] = .object(
                    JSONObject(headers.sorted { $0.key < $1.key }.map { ($0.key, shown($0.value)) }))
            }
            json["maximumMessages"] = JSONValue(maximumMessages)
            if let roots { json["trustRoots"] = .string(roots) }
        case .broker(let broker):
            let host = broker.host.contains(":") ? "[\(broker.host)]" : broker.host
            json["url"] = .string("\(broker.isEncrypted ? "mqtts" : "mqtt")://\(host):\(broker.port)")
            json["topic"] = .string(broker.topic)
            json["payload"] = .string(broker.payload)
            json["qos"] = JSONValue(broker.isAcknowledged ? 1 : 0)
            if let userName = broker.userName { json["userName"] = .string(userName) }
            if let password = broker.password { json["password"] = shown(password) }
            if let roots = broker.trustRootsPEM { json["trustRoots"] = .string(roots) }
        }
        return .object(json)
    }
}
