import SolutionTemplate
import Testing

@Suite struct DockerfileFactsTests {
    @Test func `Base images are those from outside, with their arguments replaced`() {
        let facts = DockerfileFacts(
            """
            # escape
            ARG BASE_IMAGE=python:3-slim
            ARG VERSION="1"
            FROM --platform=linux/arm/v7 ${BASE_IMAGE} AS build
            RUN a \\
                && b
            FROM scratch
            COPY --from=build /a /a
            COPY --from=tools:1 /b /b
            FROM ${OTHER:-alpine} as last
            FROM build
            """, arguments: ["BASE_IMAGE": "local/python:9"])
        #expect(facts.baseImages == ["local/python:9", "tools:1", "alpine"])
        #expect(facts.stepLines == [2, 3, 4, 5, 7, 8, 9, 10, 11])
    }
}
