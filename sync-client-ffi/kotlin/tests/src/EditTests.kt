//! Edits, and what is there after the store was shut.

package dev.rejoin.tests

import dev.rejoin.ChangeState
import dev.rejoin.MarkEdges
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.awaitCreateDocument
import dev.rejoin.awaitDocuments
import dev.rejoin.awaitEdit
import dev.rejoin.awaitJson
import dev.rejoin.awaitText
import dev.rejoin.edit
import dev.rejoin.text
import kotlinx.coroutines.runBlocking

fun Tests.edits(server: Server) {
    test("an edit is all or nothing") {
        offline { phone ->
            val doc = phone.createDocument(phone.personalSpace(), "notes")
            doc.edit { put("/title", "one") }
            val bad = checkThrows<RejoinException.BadEdit> {
                doc.edit {
                    put("/title", "two")
                    splice("/body", 0, insert = "no such text")
                }
            }
            checkEqual(bad.path, "/body")
            checkEqual(bad.toString(), bad.text)
            checkThrows<ArithmeticException> {
                doc.edit {
                    put("/title", "three")
                    throw ArithmeticException("the app's own")
                }
            }
            checkEqual(doc.json(""), """{"title":"one"}""")
            checkEqual(doc.edits(), 1UL)
        }
    }

    test("every operation does what it says") {
        offline { phone ->
            val doc = phone.createDocument(phone.personalSpace(), "notes")
            doc.edit {
                put("/items", listOf("a", "d"))
                insert("/items/1", "b", "c")
                delete("/items/0")
                put("/items/0", "B")
                put("/body", text("bold and plain"))
                mark("/body", 0..3, "bold")
                mark("/body", 9..13, "link", "https://example.com", MarkEdges.NEITHER)
                unmark("/body", 9..13, "link")
                splice("/body", 0, 4, "Bold")
                put("/gone", 1)
                delete("/gone")
            }
            checkEqual(doc.json(""), """{"body":"Bold and plain","items":["B","c","d"]}""")
        }
    }

    test("elements move and history tells what was") {
        offline { phone ->
            val doc = phone.createDocument(phone.personalSpace(), "notes")
            doc.edit { put("/items", listOf("a", "b", "c")) }
            // Reading the history seals what is open into a change of its own.
            val before = doc.history().first()
            doc.edit { move("/items", from = 0, to = 2) }
            checkEqual(doc.json("/items"), """["b","c","a"]""")
            checkThrows<RejoinException.BadEdit> { doc.edit { move("/items", 0, 7) } }
            checkEqual(doc.restore("/items", listOf(before.hash)), doc.edits())
            checkEqual(doc.json("/items"), """["a","b","c"]""")
            checkEqual(doc.restore("/items", listOf(before.hash)), null)
            doc.edit { move("/items", from = 0, to = 2) }
            check(before.own && before.device == phone.device()) { "$before" }
            checkEqual(doc.jsonAt("/items", listOf(before.hash)), """["a","b","c"]""")
            checkThrows<RejoinException.Invalid> { doc.jsonAt("/items", listOf("no hash")) }
        }
    }

    test("edits are there when the store is opened again") {
        val options = server.options("ann")
        val (space, id) = RejoinClient.openBlocking(options).use { phone ->
            val doc = phone.createDocument(phone.personalSpace(), "notes")
            for (n in 1..50) doc.edit { put("/n", n) }
            phone.personalSpace() to doc.id()
        }
        RejoinClient.openBlocking(options).use { phone ->
            val doc = phone.document(space, id)
            checkEqual(doc.json(""), """{"n":50}""")
            checkEqual(doc.edits(), 50UL)
            checkEqual(doc.editState(50u), ChangeState.Local)
            checkEqual(phone.documents(space, "notes").map { it.document }, listOf(id))
            checkEqual(phone.documents(space, "other"), emptyList())
        }
    }

    test("coroutines edit and read off their thread") {
        val options = server.options("ann")
        runBlocking {
            RejoinClient.open(options).use { phone ->
                val space = phone.personalSpace()
                val doc = phone.awaitCreateDocument(space, "notes")
                val edit = doc.awaitEdit {
                    put("/body", text("from a coroutine"))
                }
                checkEqual(edit, 1UL)
                checkEqual(doc.awaitText("/body"), "from a coroutine")
                checkEqual(doc.awaitJson(), """{"body":"from a coroutine"}""")
                checkEqual(phone.awaitDocuments(space).size, 1)
            }
        }
    }
}
