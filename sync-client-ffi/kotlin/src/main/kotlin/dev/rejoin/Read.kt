//! Reads into data classes, without reflection: what is shrunk or renamed by R8 goes on working.

package dev.rejoin

import java.time.Instant

/** What a document holds is not what the app expects there. The document is as it was; another version of the app may have written it. */
public class UnexpectedValueException(message: String) : RuntimeException(message)

/** A map in a document, from which a data class is made. */
public class Fields internal constructor(private val values: Map<String, Value>, private val at: String) {
    /** The keys that are there. */
    public val names: Set<String> get() = values.keys

    /** Whether there is such a key. */
    public operator fun contains(name: String): Boolean = name in values

    /** The value as it is, or null. */
    public operator fun get(name: String): Value? = values[name]

    /** A string or text. */
    public fun string(name: String): String = read(name, "a string", ::asString)

    /** A string or text, or something else where there is none. */
    public fun string(name: String, otherwise: String): String = read(name, "a string", otherwise, ::asString)

    /** A string or text, or null. */
    public fun stringOrNull(name: String): String? = read(name, "a string", null, ::asString)

    /** A boolean. */
    public fun boolean(name: String): Boolean = read(name, "a boolean", ::asBoolean)

    /** A boolean, or something else where there is none. */
    public fun boolean(name: String, otherwise: Boolean): Boolean = read(name, "a boolean", otherwise, ::asBoolean)

    /** A whole number or counter. */
    public fun long(name: String): Long = read(name, "a whole number", ::asLong)

    /** A whole number or counter, or something else where there is none. */
    public fun long(name: String, otherwise: Long): Long = read(name, "a whole number", otherwise, ::asLong)

    /** A whole number or counter, or null. */
    public fun longOrNull(name: String): Long? = read(name, "a whole number", null, ::asLong)

    /** A number. */
    public fun double(name: String): Double = read(name, "a number", ::asDouble)

    /** A number, or something else where there is none. */
    public fun double(name: String, otherwise: Double): Double = read(name, "a number", otherwise, ::asDouble)

    /** Bytes, or null. */
    public fun bytesOrNull(name: String): ByteArray? = read(name, "bytes", null) { (it as? Value.Bytes)?.value }

    /** A time, or null. */
    public fun instantOrNull(name: String): Instant? =
        read(name, "a timestamp", null) { value -> (value as? Value.Timestamp)?.let { Instant.ofEpochMilli(it.value) } }

    /** A list of strings; empty where there is none. */
    public fun strings(name: String): List<String> = items(name, "a list of strings", ::asString)

    /** A list of whole numbers; empty where there is none. */
    public fun longs(name: String): List<Long> = items(name, "a list of whole numbers", ::asLong)

    /** A map, or null. */
    public fun <T : Any> fieldsOrNull(name: String, build: Fields.() -> T): T? =
        read(name, "a map", null) { value -> asFields(value, "$at/$name")?.build() }

    /** A list of maps; empty where there is none. */
    public fun <T : Any> list(name: String, build: Fields.() -> T): List<T> =
        items(name, "a list of maps") { value -> asFields(value, "$at/$name/…")?.build() }

    private fun <T : Any> items(name: String, wanted: String, take: (Value) -> T?): List<T> {
        val value = values[name]?.takeUnless { it is Value.Null } ?: return emptyList()
        val items = (value as? Value.Items)?.value ?: throw unexpected(name, wanted, value)
        return items.map { take(it) ?: throw unexpected(name, wanted, it) }
    }

    private fun <T : Any> read(name: String, wanted: String, take: (Value) -> T?): T =
        read(name, wanted, null, take)
            ?: throw UnexpectedValueException("$at/$name is not there, $wanted is expected: give what holds otherwise")

    @Suppress("UNCHECKED_CAST") // T is null where `otherwise` is.
    private fun <T> read(name: String, wanted: String, otherwise: T, take: (Value) -> Any?): T {
        val value = values[name]?.takeUnless { it is Value.Null } ?: return otherwise
        return (take(value) ?: throw unexpected(name, wanted, value)) as T
    }

    // Its kind and not the value: exceptions end in logs.
    private fun unexpected(name: String, wanted: String, value: Value) =
        UnexpectedValueException("$at/$name is ${value.javaClass.simpleName}, $wanted is expected")
}

private fun asString(value: Value): String? = (value as? Value.Str)?.value ?: (value as? Value.Text)?.value

private fun asBoolean(value: Value): Boolean? = (value as? Value.Bool)?.value

private fun asLong(value: Value): Long? = when (value) {
    is Value.Int -> value.value
    is Value.Counter -> value.value
    is Value.Uint -> value.value.takeIf { it <= Long.MAX_VALUE.toULong() }?.toLong()
    else -> null
}

private fun asDouble(value: Value): Double? = (value as? Value.Float)?.value ?: asLong(value)?.toDouble()

private fun asFields(value: Value, at: String): Fields? = (value as? Value.Fields)?.let { Fields(it.value, at) }

/**
 * What a document holds at a path, as something of the app's own:
 * `doc.read { Note(title = string("title"), done = boolean("done", false), tags = strings("tags")) }`. Null if there is nothing.
 *
 * @throws UnexpectedValueException if something else is there than is expected
 */
public fun <T : Any> Document.read(path: String = "", build: Fields.() -> T): T? {
    val value = get(path) ?: return null
    val fields = asFields(value, path)
    return (fields ?: throw UnexpectedValueException("'$path' is ${value.javaClass.simpleName}, a map is expected")).build()
}
