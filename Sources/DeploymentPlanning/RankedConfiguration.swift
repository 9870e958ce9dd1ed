package import Model

/// A configuration that matches a twin, as planning needs it.
package struct RankedConfiguration: Sendable, Hashable, Comparable {
    package let id: String
    package let priority: Int
    package let created: Timestamp
    package let content: ConfigurationContent

    package init(id: String, priority: Int, created: Timestamp, content: ConfigurationContent) {
        self.id = id
        self.priority = priority
        self.created = created
        self.content = content
    }

    package init(_ configuration: Configuration) {
        self.init(
            id: configuration.id, priority: configuration.priority, created: configuration.created,
            content: configuration.content)
    }

    /// The lower rank comes first: by priority, then the older, then by id (hub.md, section 5.3).
    package static func < (left: RankedConfiguration, right: RankedConfiguration) -> Bool {
        (left.priority, left.created, left.id) < (right.priority, right.created, right.id)
    }
}
