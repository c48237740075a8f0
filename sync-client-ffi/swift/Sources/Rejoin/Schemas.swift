//! Schemas as blocks: `CollectionSchema("notes") { $0.version { $0.put("/title", "") } }`.

import Foundation

/// The versions of a schema, the first one first. A version that was shipped must stay declared as it was.
public struct SchemaBlock {
    /// The versions so far.
    public private(set) var versions: [CollectionVersion] = []

    /// The next version: what it brings, the same objects on every device. From it on, apps below version `writersFrom` may only
    /// read. `migrate` gets an older document as JSON, and says what it makes of its content; only plain values may be put, and
    /// places deleted, since two devices may do it at once. It must not call the client.
    public mutating func version(
        writersFrom: UInt16 = 0,
        migrate: (@Sendable (inout EditBlock, String) throws -> Void)? = nil,
        structure: (inout EditBlock) throws -> Void = { _ in }
    ) rethrows {
        var block = EditBlock()
        try structure(&block)
        let migration = migrate.map(Migrating.init)
        versions.append(CollectionVersion(structure: block.ops, writersFrom: writersFrom, migration: migration))
    }
}

extension CollectionSchema {
    /// What the documents of a collection are made of, for `OpenOptions.schemas`.
    public init(_ collection: String, _ build: (inout SchemaBlock) throws -> Void) rethrows {
        var block = SchemaBlock()
        try build(&block)
        self.init(collection: collection, versions: block.versions)
    }
}

private final class Migrating: DocumentMigration {
    private let block: @Sendable (inout EditBlock, String) throws -> Void

    init(_ block: @escaping @Sendable (inout EditBlock, String) throws -> Void) {
        self.block = block
    }

    func migrate(version: UInt16, json: String) throws -> [EditOp] {
        var edit = EditBlock()
        do {
            try block(&edit, json)
        } catch let error as RejoinError {
            throw error
        } catch {
            throw RejoinError.Other(text: String(describing: error))
        }
        return edit.ops
    }
}
