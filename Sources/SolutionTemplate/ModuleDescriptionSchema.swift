/// What a `module.json` looks like.
extension ManifestRule {
    static let moduleDescription = ManifestRule.object(
        Members(
            required: ["image"],
            named: [
                ("$schema-version", .text()), ("description", .text()), ("language", .text()),
                (
                    "image",
                    .object(
                        Members(
                            required: ["repository", "tag"],
                            named: [
                                ("repository", .text(.notEmpty)),
                                (
                                    "tag",
                                    .object(
                                        Members(
                                            required: ["platforms"],
                                            named: [
                                                ("version", .either(.text(.notEmpty), .scalar)),
                                                (
                                                    "platforms",
                                                    .object(Members(others: (platformName, .text(.notEmpty))))
                                                ),
                                            ]))
                                ),
                                ("buildOptions", .optional(.list(.text()))), ("contextPath", .text(.notEmpty)),
                            ]))
                ),
            ], isOpen: true))

    private static let platformName = NameRule(pattern: "^[^/\\s]+$") { name in
        !name.isEmpty && !name.contains { $0 == "/" || $0.isWhitespace }
    }
}
