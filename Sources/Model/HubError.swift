/// A refusal as a client of the hub sees it: one row of the table in hub.md, section 11.
///
/// Names and numbers are those that shipped clients compare with; the HTTP status is the first half of the number.
package struct HubErrorCode: Hashable, Sendable {
    /// Six digits, for example 404001.
    package let number: Int
    /// As in the header `iothub-errorcode`, for example `DeviceNotFound`.
    package let name: String

    private init(_ number: Int, _ name: String) {
        self.number = number
        self.name = name
    }

    /// The HTTP status, also used in MQTT twin answers and AMQP status annotations.
    package var status: Int { number / 1000 }
}

extension HubErrorCode {
    package static let genericBadRequest = HubErrorCode(400000, "GenericBadRequest")
    package static let invalidProtocolVersion = HubErrorCode(400001, "InvalidProtocolVersion")
    package static let invalidOperation = HubErrorCode(400003, "InvalidOperation")
    package static let argumentInvalid = HubErrorCode(400004, "ArgumentInvalid")
    package static let argumentNull = HubErrorCode(400005, "ArgumentNull")
    package static let iotHubFormatError = HubErrorCode(400006, "IotHubFormatError")
    package static let blobContainerValidationError = HubErrorCode(400008, "BlobContainerValidationError")
    package static let invalidSchemaVersion = HubErrorCode(400010, "InvalidSchemaVersion")
    package static let deviceDefinedMultipleTimes = HubErrorCode(400011, "DeviceDefinedMultipleTimes")
    package static let deserializationError = HubErrorCode(400012, "DeserializationError")
    package static let bulkRegistryOperationFailure = HubErrorCode(400013, "BulkRegistryOperationFailure")
    package static let etagDoesNotMatch = HubErrorCode(400023, "EtagDoesNotMatch")
    package static let connectionForcefullyClosedOnNewConnection = HubErrorCode(
        400027, "ConnectionForcefullyClosedOnNewConnection")
    package static let invalidDeviceScope = HubErrorCode(400028, "InvalidDeviceScope")
    package static let invalidRouteTestInput = HubErrorCode(400100, "InvalidRouteTestInput")
    package static let invalidSourceOnRoute = HubErrorCode(400101, "InvalidSourceOnRoute")
    package static let cannotRegisterModuleToModule = HubErrorCode(400301, "CannotRegisterModuleToModule")
    package static let invalidConfigurationTargetCondition = HubErrorCode(400401, "InvalidConfigurationTargetCondition")
    package static let invalidConfigurationContent = HubErrorCode(400402, "InvalidConfigurationContent")
    package static let cannotModifyImmutableConfigurationContent = HubErrorCode(
        400403, "CannotModifyImmutableConfigurationContent")
    package static let invalidConfigurationCustomMetricsQuery = HubErrorCode(
        400404, "InvalidConfigurationCustomMetricsQuery")
    package static let iotHubUnauthorizedAccess = HubErrorCode(401002, "IotHubUnauthorizedAccess")
    package static let iotHubUnauthorized = HubErrorCode(401003, "IotHubUnauthorized")
    package static let systemModuleModifyUnauthorizedAccess = HubErrorCode(
        401100, "SystemModuleModifyUnauthorizedAccess")
    package static let iotHubQuotaExceeded = HubErrorCode(403002, "IotHubQuotaExceeded")
    package static let jobQuotaExceeded = HubErrorCode(403003, "JobQuotaExceeded")
    package static let deviceMaximumQueueDepthExceeded = HubErrorCode(403004, "DeviceMaximumQueueDepthExceeded")
    package static let iotHubMaxCbsTokenExceeded = HubErrorCode(403005, "IotHubMaxCbsTokenExceeded")
    package static let deviceMaximumActiveFileUploadLimitExceeded = HubErrorCode(
        403006, "DeviceMaximumActiveFileUploadLimitExceeded")
    package static let invalidMessageExpiryTime = HubErrorCode(403009, "InvalidMessageExpiryTime")
    package static let deviceDisabled = HubErrorCode(403012, "DeviceDisabled")
    package static let deviceMaximumInflightMethodExceeded = HubErrorCode(403800, "DeviceMaximumInflightMethodExceeded")
    package static let genericNotFound = HubErrorCode(404000, "GenericNotFound")
    package static let deviceNotFound = HubErrorCode(404001, "DeviceNotFound")
    package static let jobNotFound = HubErrorCode(404002, "JobNotFound")
    package static let amqpAddressNotFound = HubErrorCode(404006, "AmqpAddressNotFound")
    package static let moduleNotFound = HubErrorCode(404010, "ModuleNotFound")
    package static let deviceNotOnline = HubErrorCode(404103, "DeviceNotOnline")
    package static let deviceConnectionClosedRemotely = HubErrorCode(404104, "DeviceConnectionClosedRemotely")
    package static let enrollmentNotFound = HubErrorCode(404201, "EnrollmentNotFound")
    package static let registrationNotFound = HubErrorCode(404202, "RegistrationNotFound")
    package static let configurationNotFound = HubErrorCode(404301, "ConfigurationNotFound")
    package static let genericMethodNotAllowed = HubErrorCode(405000, "GenericMethodNotAllowed")
    package static let deviceAlreadyExists = HubErrorCode(409001, "DeviceAlreadyExists")
    package static let linkCreationConflict = HubErrorCode(409002, "LinkCreationConflict")
    package static let jobAlreadyExists = HubErrorCode(409104, "JobAlreadyExists")
    package static let enrollmentAlreadyExists = HubErrorCode(409201, "EnrollmentAlreadyExists")
    package static let moduleAlreadyExistsOnDevice = HubErrorCode(409301, "ModuleAlreadyExistsOnDevice")
    package static let configurationAlreadyExists = HubErrorCode(409401, "ConfigurationAlreadyExists")
    package static let applyConfigurationAlreadyInProgressOnDevice = HubErrorCode(
        409402, "ApplyConfigurationAlreadyInProgressOnDevice")
    package static let preconditionFailed = HubErrorCode(412001, "PreconditionFailed")
    package static let deviceMessageLockLost = HubErrorCode(412002, "DeviceMessageLockLost")
    package static let messageTooLarge = HubErrorCode(413001, "MessageTooLarge")
    package static let tooManyDevices = HubErrorCode(413002, "TooManyDevices")
    package static let tooManyModulesOnDevice = HubErrorCode(413003, "TooManyModulesOnDevice")
    package static let configurationCountLimitExceeded = HubErrorCode(413101, "ConfigurationCountLimitExceeded")
    package static let genericUnsupportedMediaType = HubErrorCode(415000, "GenericUnsupportedMediaType")
    package static let throttlingException = HubErrorCode(429001, "ThrottlingException")
    package static let throttleBacklogLimitExceeded = HubErrorCode(429002, "ThrottleBacklogLimitExceeded")
    package static let throttlingBacklogTimeout = HubErrorCode(429003, "ThrottlingBacklogTimeout")
    package static let throttlingMaxActiveJobCountExceeded = HubErrorCode(429004, "ThrottlingMaxActiveJobCountExceeded")
    package static let deviceThrottlingLimitExceeded = HubErrorCode(429005, "DeviceThrottlingLimitExceeded")
    package static let serverError = HubErrorCode(500001, "ServerError")
    package static let genericTimeout = HubErrorCode(500008, "GenericTimeout")
    package static let serviceUnavailable = HubErrorCode(503001, "ServiceUnavailable")
    package static let serverBusy = HubErrorCode(503005, "ServerBusy")
    package static let gatewayTimeout = HubErrorCode(504101, "GatewayTimeout")
}

/// An operation that the hub, or the edge hub, refused.
package struct HubError: Error, Hashable, Sendable, CustomStringConvertible {
    package let code: HubErrorCode
    /// One sentence that names the thing and, where there is one, the remedy. Never holds a secret.
    package let message: String

    package init(_ code: HubErrorCode, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { "\(code.name): \(message)" }
}
