import JSONDocument
package import Model

/// The bodies of refusals (hub.md, section 11). Which of them a client reads depends on what it called.
package enum ErrorEnvelope {
    /// For devices, twins, queries and configurations: `{"Message":"ErrorCode:Name;text","ExceptionMessage":"Tracking ID:…"}`.
    package static func named(_ error: HubError, trackingID: String, time: String) -> String {
        let body: JSONValue = [
            "Message": .string("ErrorCode:\(error.code.name);\(error.message)"),
            "ExceptionMessage": .string("Tracking ID:\(trackingID)-TimeStamp:\(time)"),
        ]
        return body.text()
    }

    /// For modules, and twins over MQTT: `{"errorCode":404010,"trackingId":"…","message":"…","timestampUtc":"…"}`.
    package static func numbered(_ error: HubError, trackingID: String, time: String) -> String {
        let body: JSONValue = [
            "errorCode": JSONValue(error.code.number), "trackingId": .string(trackingID),
            "message": .string(error.message), "timestampUtc": .string(time),
        ]
        return body.text()
    }

    /// For direct methods: the numbered one as a text within `Message`.
    package static func nested(_ error: HubError, trackingID: String, time: String) -> String {
        let inner = numbered(error, trackingID: trackingID, time: time)
        let body: JSONValue = ["Message": .string(inner), "ExceptionMessage": ""]
        return body.text()
    }
}
