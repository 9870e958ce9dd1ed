import FoundationEssentials
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Lets the kernel run another processor's programs through qemu, for the time of an instance.
enum Emulation {
    private static let folder = "/proc/sys/fs/binfmt_misc"

    private struct Processor {
        /// As qemu names it.
        let name: String
        /// Byte 4 and byte 18 of an ELF file.
        let elfClass: String
        let elfMachine: String
    }

    private static func processor(_ platform: TargetPlatform) -> Processor? {
        switch platform.processor {
        case "arm32v7": Processor(name: "arm", elfClass: "01", elfMachine: "28")
        case "arm64v8": Processor(name: "aarch64", elfClass: "02", elfMachine: "b7")
        case "amd64": Processor(name: "x86_64", elfClass: "02", elfMachine: "3e")
        default: nil
        }
    }

    /// - Returns: in a few words, who emulates.
    static func prepare(_ platform: TargetPlatform, _ state: StateFolder) async throws(UpFailure) -> String {
        guard !platform.isNative, let processor = processor(platform) else { return "none needed" }
        let installed = "\(folder)/qemu-\(processor.name)"
        if let entry = StateFolder.read(installed), entry.contains("enabled"),
            entry.split(separator: "\n").contains(where: { $0.hasPrefix("flags:") && $0.contains("F") })
        {
            return "qemu-\(processor.name), as the machine is set up"
        }
        let qemu = "/usr/bin/qemu-\(processor.name)-static"
        guard StateFolder.exists(qemu) else {
            throw UpFailure(
                "\(qemu) is missing, which runs \(platform.name) here; on Debian: apt-get install qemu-user-static")
        }
        guard PrivateEngine.isRoot else {
            throw UpFailure(
                "the kernel does not run \(platform.name) programs yet; as root: apt-get install qemu-user-static binfmt-support"
            )
        }
        let entry = "hedgerow-\(state.instance)-\(processor.name)"
        var undo = entry
        if !StateFolder.exists(folder + "/register") {
            undo += " mounted"
            try StateFolder.write(undo + "\n", to: state.record("emulation"))
            guard mount("binfmt_misc", folder, "binfmt_misc", 0, nil) == 0 else {
                throw UpFailure("cannot mount \(folder), which emulation of \(platform.name) needs: \(systemMessage())")
            }
        } else {
            try StateFolder.write(undo + "\n", to: state.record("emulation"))
        }
        if StateFolder.exists("\(folder)/\(entry)") { return "qemu-\(processor.name)" }
        let zeros = String(repeating: #"\x00"#, count: 8)
        let magic =
            #"\x7fELF\x"# + processor.elfClass + #"\x01\x01\x00"# + zeros + #"\x02\x00\x"# + processor.elfMachine
            + #"\x00"#
        let ones = String(repeating: #"\xff"#, count: 8)
        let mask = String(repeating: #"\xff"#, count: 7) + #"\x00"# + ones + #"\xfe\xff\xff\xff"#
        // F: the kernel opens qemu now, so that it need not be in the containers.
        let line = ":\(entry):M::\(magic):\(mask):\(qemu):F"
        do { try write(line, to: folder + "/register") } catch {
            throw UpFailure("the kernel refuses \(qemu) for \(platform.name): \(error)")
        }
        return "qemu-\(processor.name)"
    }

    static func undo(_ state: StateFolder) {
        guard let words = StateFolder.read(state.record("emulation"))?.split(separator: " "), let entry = words.first
        else { return }
        if StateFolder.exists("\(folder)/\(entry)") { try? write("-1", to: "\(folder)/\(entry)") }
        // Others may have registered in what we mounted; then it stays busy, and theirs.
        if words.contains("mounted"), StateFolder.exists(folder + "/register") {
            let rest = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            if rest.allSatisfy({ $0 == "register" || $0 == "status" }) { umount2(folder, 0) }
        }
        StateFolder.remove(state.record("emulation"))
    }

    private static func write(_ text: String, to path: String) throws {
        let descriptor = try FileDescriptor.open(path, .writeOnly, options: .closeOnExec)
        try descriptor.closeAfter { _ = try descriptor.writeAll(Array(text.utf8)) }
    }
}
