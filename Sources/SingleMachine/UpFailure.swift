/// Why `up` or `down` could not do its work: one sentence that names the thing and the remedy.
package struct UpFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
