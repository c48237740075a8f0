//! Reads into types of the app's own, by `Codable`.

import Foundation

extension Document {
    /// What is at a path, decoded from JSON; nil if there is nothing. Bytes are base64, timestamps milliseconds since 1970:
    /// `Document.decoder()` reads both as `Data` and `Date`.
    public func read<T: Decodable>(_ type: T.Type = T.self, at path: String = "") throws -> T? {
        guard let json = try json(path: path) else { return nil }
        return try Self.decoder().decode(type, from: Data(json.utf8))
    }

    /// The same off the caller's thread.
    public func read<T: Decodable & Sendable>(_ type: T.Type = T.self, at path: String = "") async throws -> T? {
        try await offMain { try self.read(type, at: path) }
    }

    /// A decoder of what `json` gives.
    public static func decoder() -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.dataDecodingStrategy = .base64
        decoder.dateDecodingStrategy = .millisecondsSince1970
        return decoder
    }
}
