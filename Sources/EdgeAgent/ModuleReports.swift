package import JSONDocument

/// The reported properties of the modules of this device, as the edge hub sees them.
package protocol ModuleReports: Sendable {
    /// Delivers the reported properties of a module whenever it has sent some, until the task is cancelled.
    func follow(_ deliver: @escaping @Sendable (_ module: String, _ reported: JSONValue) async -> Void) async

    /// What a module has reported so far; nil when nothing is known.
    func reported(by module: String) async -> JSONValue?
}
