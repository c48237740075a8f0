//! Undo and redo of this device's edits.

package dev.rejoin.tests

import dev.rejoin.RejoinException
import dev.rejoin.edit
import dev.rejoin.group
import dev.rejoin.text

fun Tests.undo() {
    test("edits are undone and redone, each or in groups") {
        offline { phone ->
            val doc = phone.createDocument(phone.personalSpace(), "notes")
            doc.edit { put("/body", text("one")) }
            val undo = doc.undoManager()
            undo.use {
                doc.edit { splice("/body", 3, insert = " two") }
                undo.group {
                    doc.edit { splice("/body", 7, insert = " th") }
                    doc.edit { splice("/body", 10, insert = "ree") }
                }
                checkEqual(doc.text("/body"), "one two three")
                checkEqual(undo.undoSteps(), 2UL)
                check(undo.undo() != null) { "an undo is an edit, and has a number" }
                checkEqual(doc.text("/body"), "one two")
                undo.undo()
                checkEqual(doc.text("/body"), "one")
                checkEqual(undo.undo(), null, "what was made before it was kept")
                undo.redo()
                undo.redo()
                checkEqual(doc.text("/body"), "one two three")
                checkThrows<ArithmeticException> { undo.group { throw ArithmeticException("the app's own") } }
                doc.edit { put("/a", 1) }
                doc.edit { put("/b", 2) }
                undo.undo()
                checkEqual(doc.json(""), """{"a":1,"body":"one two three"}""", "a group ends also where it throws")
            }
            doc.undoManager().use { anew -> checkEqual(anew.undoSteps(), 0UL, "nobody kept it") }
            val released = doc.undoManager()
            released.release()
            checkThrows<RejoinException.Closed> { released.undo() }
        }
    }
}
