//! Paths into documents. Made here and not by the library: a call costs more than the string.

package dev.rejoin

/**
 * The path of these steps: `path("items", 3, "title")` is `/items/3/title`. A string is a key of a map, an `Int` or a `Long` an
 * index of a list. No steps: the whole document.
 */
public fun path(vararg steps: Any): String = buildString {
    for (step in steps) {
        append('/')
        when (step) {
            is String -> escape(step)
            is Int -> append(index(step.toLong()))
            is Long -> append(index(step))
            else -> throw IllegalArgumentException("a step of a path is a String, an Int or a Long, not $step")
        }
    }
}

private fun index(at: Long): Long {
    require(at >= 0) { "an index is counted from 0, $at is not one" }
    return at
}

private fun StringBuilder.escape(key: String) {
    // A step of digits alone is an index: such a key is marked.
    if (key.isNotEmpty() && key.all { it in '0'..'9' }) append("~2")
    for (character in key) {
        when (character) {
            '~' -> append("~0")
            '/' -> append("~1")
            else -> append(character)
        }
    }
}
