import NIOCore
import NIOPosix

/// A port of the hub, and whether it takes connections.
enum HubPort {
    /// - Returns: why it does not; nil when it does.
    static func trouble(host: String, port: Int) async -> String? {
        do {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(10)).connect(host: host, port: port).get()
            try? await channel.close().get()
            return nil
        } catch let error as NIOConnectionError {
            if let dns = error.dnsAError ?? error.dnsAAAAError, error.connectionErrors.isEmpty {
                return "its name has no address (\(dns)); is the network's name server reached?"
            }
            return error.connectionErrors.first.map { "\($0.error)" } ?? "no connection"
        } catch ChannelError.connectTimeout {
            return "nobody answered within 10 s"
        } catch {
            return "\(error)"
        }
    }
}

/// Times in headers of HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
enum WebTime {
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// - Returns: Unix seconds.
    static func seconds(_ text: String) -> Int? {
        let words = text.split(separator: " ")
        guard words.count == 6, let day = Int(words[1]), (1...31).contains(day),
            let month = months.firstIndex(of: String(words[2])), let year = Int(words[3]), (1970...9999).contains(year)
        else { return nil }
        let clock = words[4].split(separator: ":").compactMap { Int($0) }
        guard clock.count == 3, clock.allSatisfy({ (0...60).contains($0) }) else { return nil }
        // Years begin in March here, so that the day of a leap year is the last.
        let shifted = month < 2 ? year - 1 : year
        let days =
            365 * shifted + shifted / 4 - shifted / 100 + shifted / 400
            + (153 * ((month + 10) % 12) + 2) / 5 + day - 1 - 719_468
        return days * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2]
    }
}
