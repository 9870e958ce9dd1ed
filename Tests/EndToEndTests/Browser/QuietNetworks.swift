import Foundation

/// A library for the browser that keeps the news of networks from it.
///
/// Containers that start and end on the same machine change its networks all the time, and with each change Chromium breaks
/// off the connections that it is making (`ERR_NETWORK_CHANGED`).
enum QuietNetworks {
    private static let source = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <stddef.h>
        #include <sys/socket.h>

        int socket(int domain, int type, int protocol) {
            int (*real)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
            if (domain == AF_NETLINK || real == NULL) {
                errno = EAFNOSUPPORT;
                return -1;
            }
            return real(domain, type, protocol);
        }
        """

    /// Compiles the library into the folder, with the compiler that comes with Swift.
    ///
    /// - Returns: its path, for `LD_PRELOAD`.
    static func library(in folder: String) throws -> String {
        let (text, library) = ("\(folder)/quiet-networks.c", "\(folder)/quiet-networks.so")
        try source.write(toFile: text, atomically: true, encoding: .utf8)
        let compiler = Process()
        compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        compiler.arguments = ["clang", "-shared", "-fPIC", "-O1", "-o", library, text, "-ldl"]
        try compiler.run()
        compiler.waitUntilExit()
        guard compiler.terminationStatus == 0 else {
            throw Browser.Failure(description: "the library for the browser does not compile")
        }
        return library
    }
}
