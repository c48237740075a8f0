//! Undo in groups: `try undo.group { … }`.

extension DocumentUndoManager {
    /// The edits of the block are undone together: a word, and not a letter. Also where the block throws.
    public func group<T>(_ block: () throws -> T) throws -> T {
        try beginGroup()
        let made = Result(catching: block)
        try endGroup()
        return try made.get()
    }
}
