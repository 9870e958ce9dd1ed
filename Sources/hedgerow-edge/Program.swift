import ArgumentParser
import EdgeCommands
import Terminal

@main
struct Program {
    static func main() async {}
}
