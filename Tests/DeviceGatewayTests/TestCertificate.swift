/// Certificates that are worth nothing outside these tests: self-signed, for `hub.test`, `localhost` and 127.0.0.1, and
/// one of a client named `pi`.
enum TestCertificate {
    static let server = """
        -----BEGIN CERTIFICATE-----
        MIIBpDCCAUmgAwIBAgIUP1YSgEr4Gpfc0bpZ+SgF00br3PgwCgYIKoZIzj0EAwIw
        EzERMA8GA1UEAwwIaHViLnRlc3QwIBcNMjYxMTI0MDQwNzEzWhgPMjEyNjEwMzEw
        NDA3MTNaMBMxETAPBgNVBAMMCGh1Yi50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D
        AQcDQgAE2paDFNCQHucxd2UZMojDBFZmtSbv2g//fATHNbwdqh60paZpSPgmT71S
        UylxMPBfWp03WZRhZd95pHfnQBxwIqN5MHcwHQYDVR0OBBYEFLi6l7yB15HpPbM5
        Q5bdSFzhMGLzMB8GA1UdIwQYMBaAFLi6l7yB15HpPbM5Q5bdSFzhMGLzMA8GA1Ud
        EwEB/wQFMAMBAf8wJAYDVR0RBB0wG4IIaHViLnRlc3SCCWxvY2FsaG9zdIcEfwAA
        ATAKBggqhkjOPQQDAgNJADBGAiEAreqv/rLgKhDLcjYaPi56QXX1hIncD/DT1vQU
        oyM753gCIQDfV2xEjlSxV2L9vby4vkJJ9g6rvgoA8HCbEzp8oTGLnQ==
        -----END CERTIFICATE-----
        """
    static let serverKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJ+dPnOEVbup5ZEII
        JrLTSYgwae6ObneLwaffi0R2P4WhRANCAATaloMU0JAe5zF3ZRkyiMMEVma1Ju/a
        D/98BMc1vB2qHrSlpmlI+CZPvVJTKXEw8F9anTdZlGFl33mkd+dAHHAi
        -----END PRIVATE KEY-----
        """
    static let client = """
        -----BEGIN CERTIFICATE-----
        MIIBcjCCARegAwIBAgIUQDVtq8Hr/LQ8OQ2QbkwVFxyaA8IwCgYIKoZIzj0EAwIw
        DTELMAkGA1UEAwwCcGkwIBcNMjYxMTI0MDQwNzEzWhgPMjEyNjEwMzEwNDA3MTNa
        MA0xCzAJBgNVBAMMAnBpMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEijyMV9gp
        Evcen4qFFVEHwpvNUhXdYmDLQ1NUO1PWvdyr35EdQWH4Rv5kBbaoGTRgReBFRYOT
        36YP4uaIA2dTo6NTMFEwHQYDVR0OBBYEFEzRY1UmHe0uKzUfQUWq4sUTAMTwMB8G
        A1UdIwQYMBaAFEzRY1UmHe0uKzUfQUWq4sUTAMTwMA8GA1UdEwEB/wQFMAMBAf8w
        CgYIKoZIzj0EAwIDSQAwRgIhAMBwUNyvlrG4MjNppfMz9jivaeyrxkrazUeATbar
        65n7AiEAqNudW2YhOEMoRSDJDF0r7/LAIOeHQR9K3XoT6CDCzx8=
        -----END CERTIFICATE-----
        """
    static let clientKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgENk15NgxBqcwhu+p
        ri1n019jKf+YmmYINBmHFVaEmhOhRANCAASKPIxX2CkS9x6fioUVUQfCm81SFd1i
        YMtDU1Q7U9a93KvfkR1BYfhG/mQFtqgZNGBF4EVFg5Pfpg/i5ogDZ1Oj
        -----END PRIVATE KEY-----
        """
}
