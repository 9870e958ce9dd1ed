package import ArgumentParser

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Runs a root command with the exit statuses of the contract: 0 done, 1 failed, 2 wrong usage.
package enum CommandLineProgram {
    package static func run<Root: ParsableCommand>(_ root: Root.Type, arguments: [String]) async -> Never {
        // A reader that leaves early shows as a failed write, not as the end of the process.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try root.parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            exit(0)
        } catch {
            finish(root, error)
        }
    }

    private static func finish<Root: ParsableCommand>(_ root: Root.Type, _ error: any Error) -> Never {
        switch root.exitCode(for: error) {
        case .success:
            Terminal.result(root.fullMessage(for: error))
            exit(0)
        case .validationFailure:
            Terminal.note(root.fullMessage(for: error))
            exit(2)
        case let code:
            if error is ExitCode { exit(code.rawValue) }
            if error is CancellationError { exit(130) }
            Terminal.note("\(root._commandName): \(error)")
            exit(1)
        }
    }
}
