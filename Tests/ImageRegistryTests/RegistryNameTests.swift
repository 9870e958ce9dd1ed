import ImageRegistry
import Testing

@Suite struct RegistryNameTests {
    @Test(arguments: [
        ("127.0.0.1:5000/probe:1", "127.0.0.1:5000", "probe", "1"),
        ("lan/probe", "registry-1.docker.io", "lan/probe", "latest"),
        ("probe", "registry-1.docker.io", "library/probe", "latest"),
        ("docker.io/probe:2", "registry-1.docker.io", "library/probe", "2"),
        ("localhost/a/b:1", "localhost", "a/b", "1"), ("r.lan/x:1@sha256:ab", "r.lan", "x", "sha256:ab"),
        ("r.lan:5000/x", "r.lan:5000", "x", "latest"),
    ]) func `A name is taken apart as engines do`(image: String, host: String, repository: String, reference: String) {
        let name = RegistryName(image)
        #expect(name.host == host && name.repository == repository && name.reference == reference)
    }

    @Test func `A pinned name keeps what was written and drops the tag`() {
        #expect(RegistryName("r.lan/x:1").pinned(to: "sha256:ab") == "r.lan/x@sha256:ab")
        #expect(RegistryName("probe:1").pinned(to: "sha256:ab") == "probe@sha256:ab")
    }
}
