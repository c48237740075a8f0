//! Handles that were shut, and arguments that make no sense: typed errors whose text says what to do.

package dev.rejoin.tests

import dev.rejoin.OpenOptions
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.Value
import dev.rejoin.edit
import dev.rejoin.syncOnce
import java.io.File
import java.util.UUID
import kotlin.time.Duration.Companion.seconds

fun Tests.handles(server: Server) {
    test("everything of a client that was shut says closed") {
        val phone = server.phone("ann")
        val space = phone.personalSpace()
        val doc = phone.createDocument(space, "notes")
        val watch = doc.observe(observer { })
        phone.shutdown()
        phone.shutdown()
        val calls = listOf<() -> Unit>(
            { phone.status() }, { phone.documents(space) }, { phone.start() }, { phone.createDocument(space, "notes") },
            { doc.edit { put("/n", 1) } }, { doc.get("/n") }, { doc.observe(observer { }) },
            { timed { phone.syncOnce(1.seconds) } },
        )
        for (call in calls) {
            val closed = checkThrows<RejoinException.Closed> { call() }
            check("open it again" in closed.text) { closed.text }
        }
        watch.cancel()
        phone.close()
        checkThrows<IllegalStateException> { phone.status() }
    }

    test("use shuts the store, and its documents with it") {
        val options = server.options("ann")
        val doc = RejoinClient.openBlocking(options).use { it.createDocument(it.personalSpace(), "notes") }
        checkThrows<RejoinException.Closed> { doc.put("/n", Value.Int(1)) }
        RejoinClient.openBlocking(options).use { }
    }

    test("bad paths and edits are refused with their place") {
        offline { phone ->
            val doc = phone.createDocument(phone.personalSpace(), "notes")
            doc.edit { put("/items", listOf(1)) }
            for (path in listOf("title", "/~", "/~9", "/18446744073709551616")) {
                val bad = checkThrows<RejoinException.BadPath> { doc.get(path) }
                checkEqual(bad.path, path)
                check("JSON Pointer" in bad.text) { bad.text }
                checkThrows<RejoinException.BadPath> { doc.edit { put(path, 1) } }
            }
            checkThrows<RejoinException.BadEdit> { doc.edit { insert("/items/5", 1) } }
            checkThrows<RejoinException.BadEdit> { doc.edit { increment("/items/0") } }
            checkThrows<RejoinException.Invalid> { doc.edit { putJson("/x", "{not json") } }
            checkThrows<IllegalArgumentException> { doc.edit { splice("/items", -1) } }
            var deep: Any? = 0
            repeat(100) { deep = listOf(deep) }
            checkThrows<RejoinException.BadEdit> { doc.edit { put("/deep", deep) } }
            checkEqual(doc.json(""), """{"items":[1]}""")
        }
    }

    test("what is not there is said") {
        offline { phone ->
            val nothing = UUID.randomUUID()
            val missing = checkThrows<RejoinException.NoDocument> { phone.document(phone.personalSpace(), nothing) }
            checkEqual(missing.document, nothing)
            checkThrows<RejoinException.NoSpace> { phone.documents(nothing) }
            checkThrows<RejoinException.Invalid> { phone.createDocument(phone.personalSpace(), "") }
        }
    }

    test("options that make no sense are refused") {
        val path = server.file("${server.unique("store")}.rejoin")
        checkThrows<RejoinException.NoIdentity> { RejoinClient.openBlocking(OpenOptions(path)) }
        checkThrows<RejoinException.Invalid> { RejoinClient.openBlocking(OpenOptions(path, user = "ann")) }
        checkThrows<RejoinException.Invalid> { RejoinClient.openBlocking(OpenOptions(path, token = "nonsense")) }
        val text = File(server.file("${server.unique("letter")}.txt")).apply { writeText("Dear Ann,\n".repeat(500)) }
        val options = OpenOptions(text.path, user = "ann", device = UUID.randomUUID())
        checkEqual(checkThrows<RejoinException.NotAStore> { RejoinClient.openBlocking(options) }.path, text.path)
        check(text.readText().startsWith("Dear Ann,")) { "it is as it was" }
    }

    test("a store of another person is not opened") {
        val options = server.options("ann")
        RejoinClient.openBlocking(options).use { }
        val other = server.options("bob", path = options.path)
        val refused = checkThrows<RejoinException.StoreOfAnother> { RejoinClient.openBlocking(other) }
        checkEqual(refused.user, "ann")
    }
}
