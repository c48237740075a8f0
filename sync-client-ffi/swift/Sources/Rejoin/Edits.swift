//! Edits as blocks: `try doc.edit { $0.put("/title", "Groceries"); $0.splice("/body", at: 0, insert: "milk") }`.

import Foundation

/// What one edit does; all of it takes effect, or nothing.
public struct EditBlock {
    /// The operations, in order.
    public private(set) var ops: [EditOp] = []

    /// Sets a key of a map, or replaces an element of a list.
    public mutating func put(_ path: String, _ value: Value) {
        ops.append(.put(path: path, value: value))
    }

    /// The same with a value of Swift's.
    public mutating func put(_ path: String, _ value: some ValueConvertible) {
        ops.append(.put(path: path, value: value.rejoinValue))
    }

    /// The same with anything that can be encoded as JSON. With `text`, its strings become texts that people type.
    public mutating func put(_ path: String, json value: some Encodable, text: Bool = false) throws {
        let json = try JSONEncoder().encode(value)
        ops.append(.putJson(path: path, json: String(decoding: json, as: UTF8.self), text: text))
    }

    /// Removes a key of a map, or an element of a list.
    public mutating func delete(_ path: String) {
        ops.append(.delete(path: path))
    }

    /// Inserts elements into a list, before the index that ends the path.
    public mutating func insert(_ path: String, _ values: Value...) {
        ops.append(.insert(path: path, values: values))
    }

    /// Moves an element of a list. It is inserted anew there: what others do to it at the same time is done to the old one.
    public mutating func move(_ list: String, from: Int, to: Int) {
        ops.append(.move(path: list, fromIndex: UInt64(from), toIndex: UInt64(to)))
    }

    /// Replaces a part of a text. Positions count Unicode scalars, not Swift's characters: see `String.scalarOffset`.
    public mutating func splice(_ path: String, at: Int, remove: Int = 0, insert: String = "") {
        ops.append(.splice(path: path, at: UInt64(at), remove: UInt64(remove), insert: insert))
    }

    /// Marks a part of a text, for example as `bold`. By default text that is typed at its end belongs to it.
    public mutating func mark(
        _ path: String, _ range: Range<Int>, _ name: String, _ value: Value = true, edges: MarkEdges = .end
    ) {
        let (start, end) = (UInt64(range.lowerBound), UInt64(range.upperBound))
        ops.append(.mark(path: path, start: start, end: end, name: name, value: value, edges: edges))
    }

    /// Unmarks a part of a text.
    public mutating func unmark(_ path: String, _ range: Range<Int>, _ name: String) {
        mark(path, range, name, nil, edges: .neither)
    }

    /// Adds to a counter.
    public mutating func increment(_ path: String, by: Int64 = 1) {
        ops.append(.increment(path: path, by: by))
    }
}

extension Document {
    /// Makes an edit of all that the block says, or of nothing of it: also if the block throws. It is on disk when this returns;
    /// gives its number, for `editState`. Waits for the disk.
    @discardableResult
    public func edit(_ block: (inout EditBlock) throws -> Void) throws -> UInt64 {
        var edit = EditBlock()
        try block(&edit)
        return try self.edit(ops: edit.ops)
    }

    /// The same off the caller's thread. A task that is cancelled meanwhile does not take the edit back.
    @discardableResult
    public func edit(_ block: (inout EditBlock) throws -> Void) async throws -> UInt64 {
        var edit = EditBlock()
        try block(&edit)
        let ops = edit.ops
        return try await offMain { try self.edit(ops: ops) }
    }
}

extension String {
    /// How many Unicode scalars stand before an index: positions in Rejoin's texts count them.
    public func scalarOffset(of index: Index) -> Int {
        unicodeScalars.distance(from: unicodeScalars.startIndex, to: index)
    }
}
