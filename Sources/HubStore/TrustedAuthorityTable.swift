package import SQLite

/// An authority whose certificates devices may show, once possession of its key was proved.
package struct TrustedAuthority: Sendable, Hashable {
    package let name: String
    /// PEM.
    package var certificate: String
    /// The common name that a certificate has to bear which proves possession; empty when none was asked for.
    package var code: String
    package var isVerified: Bool
    package var etag: Int64
    /// Ticks, as `Timestamp` counts them.
    package var created: Int64
    package var updated: Int64

    package init(
        name: String, certificate: String, code: String = "", isVerified: Bool = false, etag: Int64, created: Int64,
        updated: Int64
    ) {
        self.name = name
        self.certificate = certificate
        self.code = code
        self.isVerified = isVerified
        self.etag = etag
        self.created = created
        self.updated = updated
    }
}

extension SQLiteDatabase {
    package func trustedAuthorities() throws -> [TrustedAuthority] {
        try rows(
            """
            SELECT name, certificate, code, verified, etag, created, updated FROM trusted_authority ORDER BY name
            """
        ) {
            TrustedAuthority(
                name: $0.text(0), certificate: $0.text(1), code: $0.text(2), isVerified: $0.int(3) != 0,
                etag: $0.int64(4), created: $0.int64(5), updated: $0.int64(6))
        }
    }
}

extension WriteTransaction {
    package func put(_ authority: TrustedAuthority) throws {
        try database.run(
            "INSERT OR REPLACE INTO trusted_authority VALUES (?, ?, ?, ?, ?, ?, ?)", .text(authority.name),
            .text(authority.certificate), .text(authority.code), .int(authority.isVerified ? 1 : 0),
            .integer(authority.etag), .integer(authority.created), .integer(authority.updated))
    }

    package func removeTrustedAuthority(_ name: String) throws {
        try database.run("DELETE FROM trusted_authority WHERE name = ?", .text(name))
    }
}
