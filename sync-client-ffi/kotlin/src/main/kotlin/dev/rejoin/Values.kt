//! Kotlin's values as values of documents, and back.

package dev.rejoin

import java.time.Instant

/** Values lie in each other at most so deep; a document refuses less (64), and says so better. */
private const val DEPTH_MAX = 128

/** A text that people type: concurrent insertions are merged character by character. */
public fun text(characters: String = ""): Value = Value.Text(characters)

/** A number to which concurrent increments add up. */
public fun counter(start: Long = 0): Value = Value.Counter(start)

/**
 * A value of a document: null, `Boolean`, `Int` and its kin, `Double`, `Float`, `String` (replaced as a whole; see [text]),
 * `ByteArray`, `Instant`, and maps and lists of such. A [Value] is itself.
 *
 * @throws IllegalArgumentException for anything else
 */
public fun valueOf(value: Any?): Value = convert(value, 0)

private fun convert(value: Any?, depth: Int): Value {
    require(depth <= DEPTH_MAX) { "a value lies deeper than $DEPTH_MAX maps and lists: it may hold itself" }
    return when (value) {
        null -> Value.Null
        is Value -> value
        is Boolean -> Value.Bool(value)
        is Int -> Value.Int(value.toLong())
        is Long -> Value.Int(value)
        is Short -> Value.Int(value.toLong())
        is Byte -> Value.Int(value.toLong())
        is UInt -> Value.Uint(value.toULong())
        is ULong -> Value.Uint(value)
        is Double -> Value.Float(value)
        is Float -> Value.Float(value.toDouble())
        is Enum<*> -> Value.Str(value.name)
        is CharSequence -> Value.Str(value.toString())
        is Char -> Value.Str(value.toString())
        is ByteArray -> Value.Bytes(value)
        is Instant -> Value.Timestamp(value.toEpochMilli())
        is Map<*, *> -> Value.Fields(value.entries.associate { (key, of) -> fieldName(key) to convert(of, depth + 1) })
        is Iterable<*> -> Value.Items(value.map { convert(it, depth + 1) })
        is Array<*> -> Value.Items(value.map { convert(it, depth + 1) })
        else -> throw IllegalArgumentException(
            "a document has no values of the type ${value.javaClass.name}: give its fields as a map",
        )
    }
}

private fun fieldName(key: Any?): String =
    key as? String ?: throw IllegalArgumentException("the keys of a map are strings, $key is not one")

/**
 * The value in Kotlin's own types: `Boolean`, `Long`, `ULong`, `Double`, `String`, `ByteArray`, `Instant`, `Map`, `List` or null.
 * A counter is a `Long`, a text a `String`.
 */
public fun Value.toKotlin(): Any? = when (this) {
    is Value.Null -> null
    is Value.Bool -> value
    is Value.Int -> value
    is Value.Uint -> value
    is Value.Float -> value
    is Value.Str -> value
    is Value.Bytes -> value
    is Value.Counter -> value
    is Value.Timestamp -> Instant.ofEpochMilli(value)
    is Value.Text -> value
    is Value.Fields -> value.mapValues { (_, of) -> of.toKotlin() }
    is Value.Items -> value.map { it.toKotlin() }
}
