import JSONDocument
import Testing

@testable import QueryLanguage

@Suite struct RouteTrialTests {
    private let message: JSONValue = [
        "properties": ["kind": "a", "bare": .null],
        "systemProperties": ["contentType": "application/json", "contentEncoding": "utf-8"], "body": ["t": 50],
    ]

    @Test func `A valid route gives its own texts and what it makes of the message`() throws {
        let trial = try RouteTrial(
            .route("SELECT * FROM /messages/* WHERE  kind = 'a' AND $body.t > 40  INTO brokeredendpoint('/a/b/c')"),
            message: message, source: nil)
        #expect(
            try JSONValue.object(trial.result().get().json).text()
                == #"{"valid":true,"matches":true,"value":"true","source":"/messages/*","condition":"kind = 'a' AND $body.t > 40","endpoint":"BrokeredEndpoint(\"/a/b/c\")"}"#
        )
    }

    @Test func `A message from elsewhere does not match, whatever the condition says`() throws {
        let result = try RouteTrial(
            .route("FROM /twinChangeNotifications INTO $UPSTREAM"), message: message, source: nil
        )
        .result().get()
        #expect(
            !result.matches && result.value == .true && result.endpoint == "$upstream" && result.condition == "true")
    }

    @Test func `A condition alone has no endpoint`() throws {
        let result = try RouteTrial(.condition(" bare = 'x' "), message: message, source: nil).result().get()
        #expect(result.json["endpoint"] == nil && result.value == .false && result.condition == "bare = 'x'")
    }

    @Test(arguments: [
        (
            #"{"id":"1","condition":"true"}"#,
            #"{"id":"1","valid":true,"matches":true,"value":"true","source":"/messages/modules/m/outputs/o","condition":"true"}"#,
            true
        ),
        (
            #"{"id":"2","route":"FROM /* INTO $upstream","source":"/messages","message":{"bodyText":"x"}}"#,
            #"{"id":"2","valid":true,"matches":true,"value":"true","source":"/*","condition":"true","endpoint":"$upstream"}"#,
            true
        ),
    ]) func `A line of a batch is answered with its id`(line: String, answer: String, wasRead: Bool) {
        let result = RouteTrial.answer(toLine: line.utf8)
        #expect(result.answer.text() == answer)
        #expect(result.wasRead == wasRead)
    }

    @Test(arguments: [
        "{", "{}", #"{"route":"a","condition":"b"}"#, #"{"condition":"true","message":{"properties":{"a":1}}}"#, "3",
    ])
    func `A line that cannot be read is told from an invalid route`(line: String) {
        let result = RouteTrial.answer(toLine: line.utf8)
        #expect(result.answer["valid"] == false && !result.wasRead)
    }

    @Test func `An invalid route is refused with its position in the whole text`() {
        let result = RouteTrial.answer(toLine: #"{"id":"3","route":"FROM /*\nWHERE level > 5\nINTO $upstream"}"#.utf8)
        #expect(result.wasRead && result.answer["line"] == 2 && result.answer["column"] == 13)
    }
}
