import Testing

@testable import SingleMachine

@Suite struct TargetPlatformTests {
    @Test(arguments: [
        ("amd64", "linux/amd64"), ("amd64.debug", "linux/amd64"), ("arm32v7", "linux/arm/v7"),
        ("arm64v8", "linux/arm64"),
    ])
    func `The engine's name follows from the platform`(name: String, engineName: String) {
        #expect(TargetPlatform(name).engineName == engineName)
    }

    @Test func `A name that says nothing about the processor is taken for native`() {
        #expect(TargetPlatform("windows-of-a-kind").engineName == nil)
        #expect(TargetPlatform("windows-of-a-kind").isNative)
        #expect(TargetPlatform.native.isNative)
    }
}
