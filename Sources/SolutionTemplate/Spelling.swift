/// Finds what somebody meant who misspelt a name.
enum Spelling {
    /// The name that differs least from `text`; nil when all differ much.
    static func nearest(to text: String, in names: some Sequence<String>) -> String? {
        let limit = max(1, text.count / 3)
        return names.map { (name: $0, distance: distance($0.lowercased(), text.lowercased())) }
            .filter { $0.distance <= limit }.min { $0.distance < $1.distance }?.name
    }

    /// How many letters have to be put in, taken out or replaced to get from one to the other.
    static func distance(_ first: String, _ second: String) -> Int {
        let (first, second) = (Array(first.unicodeScalars.prefix(64)), Array(second.unicodeScalars.prefix(64)))
        var row = Array(0...second.count)
        for (index, letter) in first.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for (place, other) in second.enumerated() {
                let replaced = diagonal + (letter == other ? 0 : 1)
                diagonal = row[place + 1]
                row[place + 1] = min(replaced, row[place] + 1, diagonal + 1)
            }
        }
        return row[second.count]
    }
}
