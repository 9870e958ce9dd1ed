import Model

/// Whose topics are read.
enum IdentityKeys {
    static let device = IdentityKey(device: "pi")
    static let module = IdentityKey(device: "pi", module: "m")
}
