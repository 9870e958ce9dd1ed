/// What a client can listen to (the filters of hub.md, section 6.2).
package enum DeviceSubscription: String, Sendable, Hashable, CaseIterable {
    case twinAnswers, desiredProperties, methods, cloudToDevice, inputs
}
