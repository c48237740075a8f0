//! Edits as blocks: `doc.edit { put("/title", "Groceries"); splice("/body", 0, insert = "milk") }`.

package dev.rejoin

/** Marks the receivers of edit blocks: an inner block does not reach an outer one's by accident. */
@DslMarker
public annotation class RejoinDsl

/** What one edit does; all of it takes effect, or nothing. */
@RejoinDsl
public class EditScope internal constructor() {
    internal val ops = ArrayList<EditOp>()

    /** Sets a key of a map, or replaces an element of a list, by anything that [valueOf] takes. */
    public fun put(path: String, value: Any?) {
        ops += EditOp.Put(path, valueOf(value))
    }

    /** The same with a value in JSON. With [text], its strings become texts that people type. */
    public fun putJson(path: String, json: String, text: Boolean = false) {
        ops += EditOp.PutJson(path, json, text)
    }

    /** Removes a key of a map, or an element of a list. */
    public fun delete(path: String) {
        ops += EditOp.Delete(path)
    }

    /** Inserts elements into a list, before the index that ends the path. */
    public fun insert(path: String, vararg values: Any?) {
        ops += EditOp.Insert(path, values.map(::valueOf))
    }

    /** Moves an element of a list. It is inserted anew there: what others do to it at the same time is done to the old one. */
    public fun move(list: String, from: Int, to: Int) {
        ops += EditOp.Move(list, position(from), position(to))
    }

    /** Replaces a part of a text. Positions count Unicode characters (code points), not Kotlin's `Char`s: see [codePoint]. */
    public fun splice(path: String, at: Int, remove: Int = 0, insert: String = "") {
        ops += EditOp.Splice(path, position(at), position(remove), insert)
    }

    /** Marks a part of a text, for example as `bold`. By default text that is typed at its end belongs to it. */
    public fun mark(path: String, range: IntRange, name: String, value: Any? = true, edges: MarkEdges = MarkEdges.END) {
        ops += EditOp.Mark(path, position(range.first), position(range.last + 1), name, valueOf(value), edges)
    }

    /** Unmarks a part of a text. */
    public fun unmark(path: String, range: IntRange, name: String): Unit = mark(path, range, name, null, MarkEdges.NEITHER)

    /** Adds to a counter. */
    public fun increment(path: String, by: Long = 1) {
        ops += EditOp.Increment(path, by)
    }

    private fun position(at: Int): ULong {
        require(at >= 0) { "a position is counted from 0, $at is not one" }
        return at.toULong()
    }
}

/**
 * Makes an edit of all that the block says, or of nothing of it: also if the block throws. It is on disk when this returns; gives
 * its number, for [Document.editState]. Waits for the disk: see [awaitEdit].
 */
public inline fun Document.edit(block: EditScope.() -> Unit): ULong = edit(editOps(block))

/** The operations of a block, to be handed to an edit later. */
public inline fun editOps(block: EditScope.() -> Unit): List<EditOp> = newScope().apply(block).toOps()

@PublishedApi
internal fun newScope(): EditScope = EditScope()

@PublishedApi
internal fun EditScope.toOps(): List<EditOp> = ops

/** Which code point the `Char` at an index belongs to: cursors of Android count `Char`s, texts of Rejoin code points. */
public fun CharSequence.codePoint(index: Int): Int = Character.codePointCount(this, 0, index)
