//! Paths and values, which need no server.

package dev.rejoin.tests

import dev.rejoin.PathStep
import dev.rejoin.RejoinClient
import dev.rejoin.OpenOptions
import dev.rejoin.UnexpectedValueException
import dev.rejoin.Value
import dev.rejoin.codePoint
import dev.rejoin.counter
import dev.rejoin.edit
import dev.rejoin.path
import dev.rejoin.pathOf
import dev.rejoin.read
import dev.rejoin.text
import dev.rejoin.toKotlin
import dev.rejoin.valueOf
import java.nio.file.Files
import java.time.Instant
import java.util.UUID

/** A phone that never meets a server, on a store that is gone afterwards. */
fun <T> offline(block: (RejoinClient) -> T): T {
    val folder = Files.createTempDirectory("rejoin-kotlin").toFile()
    val options = OpenOptions("$folder/notes.rejoin", user = "ann", device = UUID.randomUUID())
    try {
        return RejoinClient.openBlocking(options).use(block)
    } finally {
        folder.deleteRecursively()
    }
}

private data class Note(val title: String, val done: Boolean, val tags: List<String>, val likes: Long, val parts: List<Part>)

private data class Part(val name: String, val weight: Double?)

fun Tests.values() {
    test("paths are those of the library") {
        for (key in listOf("title", "3", "", "~23", "a/b~c", "Grüße", "１")) {
            checkEqual(path(key), pathOf(listOf(PathStep.Key(key))), "the key '$key'")
        }
        checkEqual(path("items", 3, "title"), "/items/3/title")
        checkEqual(path("items", 3L), pathOf(listOf(PathStep.Key("items"), PathStep.Index(3u))))
        checkEqual(path(), "")
        checkThrows<IllegalArgumentException> { path("items", -1) }
        checkThrows<IllegalArgumentException> { path("items", 1.5) }
    }

    test("values come back as they were") {
        val now = Instant.ofEpochMilli(1_700_000_000_123)
        val table = mapOf(
            "null" to null, "bool" to true, "long" to Long.MIN_VALUE, "ulong" to ULong.MAX_VALUE, "double" to 0.5,
            "string" to "Grüße 🙂", "instant" to now, "list" to listOf(1L, "two", listOf<Any?>(null)),
            "map" to mapOf("a" to mapOf("b" to 1L), "" to false), "empty" to emptyList<Any?>(),
        )
        offline { phone ->
            val doc = phone.createDocument(phone.personalSpace(), "all")
            doc.edit {
                for ((key, value) in table) put(path(key), value)
                put("/bytes", byteArrayOf(1, -1))
                put("/counter", counter(41))
                increment("/counter")
                put("/text", text("typed"))
            }
            for ((key, value) in table) checkEqual(doc.get(path(key))?.toKotlin(), value, key)
            check((doc.get("/bytes") as Value.Bytes).value.contentEquals(byteArrayOf(1, -1))) { "bytes" }
            checkEqual(doc.get("/counter"), Value.Counter(42))
            checkEqual(doc.get("/text"), Value.Text("typed"))
            checkEqual(doc.get("/nothing"), null)
        }
    }

    test("what is no value is refused and says so") {
        check("java.util.UUID" in "${checkThrows<IllegalArgumentException> { valueOf(UUID.randomUUID()) }.message}") { "type" }
        checkThrows<IllegalArgumentException> { valueOf(mapOf(1 to 2)) }
        val itself = ArrayList<Any?>()
        itself.add(itself)
        checkThrows<IllegalArgumentException> { valueOf(itself) }
    }

    test("a data class is read, and says what does not fit") {
        offline { phone ->
            val doc = phone.createDocument(phone.personalSpace(), "notes")
            doc.edit {
                put("/title", text("Groceries"))
                put("/tags", listOf("home", "food"))
                put("/likes", counter(2))
                putJson("/parts", """[{"name": "milk", "weight": 1}, {"name": "salt"}]""")
            }
            val note = doc.read {
                Note(
                    title = string("title"),
                    done = boolean("done", false),
                    tags = strings("tags"),
                    likes = long("likes"),
                    parts = list("parts") { Part(string("name"), if ("weight" in this) double("weight") else null) },
                )
            }
            val parts = listOf(Part("milk", 1.0), Part("salt", null))
            checkEqual(note, Note("Groceries", false, listOf("home", "food"), 2, parts))
            checkEqual(doc.read("/parts/1") { string("name") }, "salt")
            checkEqual(doc.read("/parts/7") { string("name") }, null)
            val missing = checkThrows<UnexpectedValueException> { doc.read { string("titel") } }
            check("/titel is not there" in "${missing.message}") { "$missing" }
            val wrong = checkThrows<UnexpectedValueException> { doc.read { long("title") } }
            check("/title is Text" in "${wrong.message}" && "Groceries" !in "${wrong.message}") { "$wrong" }
            checkThrows<UnexpectedValueException> { doc.read("/title") { string("title") } }
        }
    }

    test("positions are code points") {
        offline { phone ->
            val doc = phone.createDocument(phone.personalSpace(), "notes")
            val typed = "🙂🙂!"
            doc.edit {
                put("/body", text(typed))
                splice("/body", typed.codePoint(4), insert = " there")
            }
            checkEqual(doc.text("/body"), "🙂🙂 there!")
            checkEqual(doc.length("/body"), 9UL)
        }
    }
}
