import FoundationEssentials

@testable import SingleMachine

/// A state folder that a test has for itself.
func withTemporaryState<Result>(_ body: (StateFolder) async throws -> Result) async throws -> Result {
    let state = StateFolder("/tmp/hedgerow-test-\(UUID().uuidString.prefix(8))")
    try state.create()
    do {
        let result = try await body(state)
        StateFolder.remove(state.path)
        return result
    } catch {
        StateFolder.remove(state.path)
        throw error
    }
}
