import ArgumentParser
import Terminal

struct CompletionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion", abstract: "Print the completions of this command for a shell.",
        discussion: """
            Example: hedgerow completion bash > ~/.local/share/bash-completion/completions/hedgerow
            Example: hedgerow completion zsh > ~/.zfunc/_hedgerow
            Example: hedgerow completion fish > ~/.config/fish/completions/hedgerow.fish
            """)

    enum Shell: String, ExpressibleByArgument, CaseIterable {
        case bash, zsh, fish
    }

    @Argument(help: "bash, zsh or fish.") var shell: Shell

    func run() throws {
        let kind: CompletionShell =
            switch shell {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        Terminal.result(Hedgerow.completionScript(for: kind))
    }
}
