//! Schemas: documents that have names, and older ones that are brought to a newer version.

package dev.rejoin.tests

import dev.rejoin.OpenOptions
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.counter
import dev.rejoin.edit
import dev.rejoin.schema
import dev.rejoin.text
import java.util.UUID

fun Tests.schemas(server: Server) {
    test("an older document is brought to a newer version before its first edit") {
        val path = server.file("${server.unique("schemas")}.rejoin")
        val first = schema("notes") { version { put("/title", "") ; put("/body", text()) } }
        val options = OpenOptions(path, user = "ann", device = UUID.randomUUID(), schemas = listOf(first))
        val id = RejoinClient.openBlocking(options).use { phone ->
            val doc = phone.openOrCreate(phone.personalSpace(), "notes", "today")
            doc.edit { put("/title", "milk") }
            checkEqual(phone.openOrCreate(phone.personalSpace(), "notes", "today").id(), doc.id())
            doc.id()
        }
        fun newer(fails: Boolean) = schema("notes") {
            version { put("/title", "") ; put("/body", text()) }
            version(writersFrom = 2, migrate = { json ->
                check(!fails) { "not today" }
                put("/seen", json.contains("milk"))
            }) { put("/likes", counter()) }
        }
        RejoinClient.openBlocking(options.copy(schemas = listOf(newer(fails = true)))).use { phone ->
            val doc = phone.document(phone.personalSpace(), id)
            val failed = checkThrows<RejoinException.MigrationFailed> { doc.edit { put("/title", "bread") } }
            check(failed.text.contains("not today")) { failed.text }
            checkEqual(doc.schema().version.toInt(), 1)
        }
        RejoinClient.openBlocking(options.copy(schemas = listOf(newer(fails = false)))).use { phone ->
            val doc = phone.document(phone.personalSpace(), id)
            doc.edit { increment("/likes", 2) }
            checkEqual(doc.json(""), """{"body":"","likes":2,"seen":true,"title":"milk"}""")
        }
        RejoinClient.openBlocking(options).use { phone ->
            val doc = phone.document(phone.personalSpace(), id)
            checkEqual(doc.schema().mayWrite, false)
            val refused = checkThrows<RejoinException.NewerSchema> { doc.edit { put("/title", "bread") } }
            checkEqual(refused.writersFrom.toInt(), 2)
        }
    }
}
