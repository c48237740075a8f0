//! Undo in groups: `undo.group { … }`, and `doc.undoManager().use { … }`, which ends it.

package dev.rejoin

/** The edits of the block are undone together: a word, and not a letter. Also where the block throws. */
public inline fun <T> UndoManager.group(block: () -> T): T {
    beginGroup()
    try {
        return block()
    } finally {
        endGroup()
    }
}
