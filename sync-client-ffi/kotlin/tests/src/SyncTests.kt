//! Two phones and a server between them.

package dev.rejoin.tests

import dev.rejoin.ChangeState
import dev.rejoin.Leave
import dev.rejoin.QuarantineReason
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.documentsFlow
import dev.rejoin.edit
import dev.rejoin.editStateFlow
import dev.rejoin.exportAll
import dev.rejoin.jsonFlow
import dev.rejoin.peersFlow
import dev.rejoin.samples.notes
import dev.rejoin.showPresence
import dev.rejoin.syncOnce
import dev.rejoin.text
import dev.rejoin.waitDurable
import dev.rejoin.waitForEdit
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.flow.first

private val patience = PATIENCE_S.seconds

fun Tests.sync(server: Server) {
    test("two phones edit apart and meet") {
        val user = server.unique("ann")
        server.phone(user).use { one ->
            server.phone(user).use { two ->
                timed {
                    val space = one.personalSpace()
                    val doc = one.createDocument(space, "notes")
                    doc.edit { put("/body", text("shared")) }
                    check(one.syncOnce(patience).requests > 0u) { "it asks the server" }
                    two.syncOnce(patience)
                    val other = two.document(space, doc.id())
                    val first = doc.edit { splice("/body", 0, insert = "one ") }
                    other.edit { splice("/body", 6, insert = " two") }
                    checkEqual(one.pending(space).edits, 1UL)
                    one.syncOnce(patience)
                    two.syncOnce(patience)
                    one.syncOnce(patience)
                    checkEqual(doc.text("/body"), "one shared two")
                    checkEqual(other.text("/body"), "one shared two")
                    check(doc.editState(first) is ChangeState.Durable) { "the server has it" }
                    checkEqual(one.pending(space).changes, 0UL)
                    // Nothing is new: nothing is sent twice.
                    checkEqual(one.syncOnce(patience).bytesReceived < 4096u, true, "a second exchange is small")
                }
            }
        }
    }

    test("live edits arrive in the other phone's flow") {
        val user = server.unique("ann")
        server.phone(user).use { one ->
            server.phone(user).use { two ->
                timed {
                    one.start()
                    two.start()
                    val space = one.personalSpace()
                    val doc = one.createDocument(space, "notes")
                    doc.edit { put("/title", "live") }
                    check(one.waitDurable(space, patience)) { "the server has it" }
                    val entry = two.documentsFlow(space, "notes").first { it.isNotEmpty() }.single()
                    val other = two.document(space, entry.document)
                    other.jsonFlow("/title").first { it == "\"live\"" }
                    other.edit { put("/title", "back") }
                    doc.jsonFlow("/title").first { it == "\"back\"" }
                }
            }
        }
    }

    test("an edit goes from local to durable before one's eyes") {
        server.phone(server.unique("ann")).use { phone ->
            timed {
                val doc = phone.createDocument(phone.personalSpace(), "notes")
                val edit = doc.edit { put("/title", "saved?") }
                checkEqual(doc.editStateFlow(edit).first(), ChangeState.Local as ChangeState)
                checkEqual(doc.waitForEdit(edit, 0.seconds), ChangeState.Local as ChangeState)
                phone.start()
                val durable = doc.editStateFlow(edit).first { it is ChangeState.Durable }
                checkEqual(doc.waitForEdit(edit, patience), durable)
            }
        }
    }

    test("leaving keeps what the server has not got, unless told otherwise") {
        val options = server.options(server.unique("ann"))
        timed {
            val phone = RejoinClient.open(options)
            val doc = phone.createDocument(phone.personalSpace(), "notes")
            doc.edit { put("/n", 1) }
            val unsent = checkThrows<RejoinException.Unsent> { phone.leave(Leave.WIPE_WHEN_SENT) }
            check(unsent.edits + unsent.changes > 0u) { "$unsent" }
            // Nothing has happened.
            checkEqual(doc.json("/n"), "1")
            phone.syncOnce(patience)
            phone.leave(Leave.WIPE_WHEN_SENT)
            checkThrows<RejoinException.Closed> { doc.json("/n") }
            check(!java.io.File(options.path).exists()) { "the store is gone" }
        }
    }

    test("everything is exported, or nothing if the app says stop") {
        offline { phone ->
            repeat(3) { n -> phone.createDocument(phone.personalSpace(), "notes").edit { put("/n", n) } }
            val folder = java.io.File(server.folder, server.unique("export"))
            timed {
                var heard = 0uL
                checkThrows<RejoinException.Stopped> { phone.exportAll(folder.path) { it.documents < 2u } }
                check(!folder.exists()) { "half of it is nothing" }
                val report = phone.exportAll(folder.path) { progress -> true.also { heard = progress.documents } }
                checkEqual(report.documents, 3uL)
                checkEqual(heard, 3uL)
                checkEqual(folder.walk().count { it.extension == "automerge" }, 3)
                // An observer that throws does not stop it.
                phone.exportAll("${folder.path}-again") { error("the app's own") }
            }
        }
    }

    test("the sample does what it says, on two devices") {
        val user = server.unique("ann")
        val shown = java.util.concurrent.CopyOnWriteArrayList<String>()
        timed {
            suspend fun type(phone: RejoinClient, vararg lines: String) {
                val typed = lines.iterator()
                notes(phone, { if (typed.hasNext()) typed.next() else null }, shown::add)
            }
            server.phone(user).use { one ->
                server.phone(user).use { two ->
                    type(one, "add Groceries", "write 0 milk", "add Plants", "delete 1", "write 7 nothing", "help")
                    one.syncOnce(patience)
                    two.syncOnce(patience)
                    type(two, "list")
                }
            }
        }
        check("0  Groceries: milk" in shown && "no such note" in shown) { "$shown" }
        check(shown.none { "Plants" in it || it.startsWith("not done") }) { "$shown" }
    }

    test("presence is shown to others and ends") {
        val user = server.unique("ann")
        server.phone(user).use { one ->
            server.phone(user).use { two ->
                timed {
                    one.start()
                    two.start()
                    val space = one.personalSpace()
                    one.showPresence(space, "line 3".toByteArray())
                    val peer = two.peersFlow(space).first { it.isNotEmpty() }.single()
                    checkEqual(String(peer.data), "line 3")
                    checkEqual(peer.device, one.device())
                    checkEqual(peer.user, user)
                    one.clearPresence(space)
                    two.peersFlow(space).first { it.isEmpty() }
                    val large = checkThrows<RejoinException.Invalid> { one.showPresence(space, ByteArray(1 shl 20)) }
                    check("show less" in large.text) { large.text }
                }
            }
        }
    }

    test("a refused edit goes to quarantine and is kept") {
        val user = server.unique("ann")
        server.phone(user).use { one ->
            server.phone(user).use { two ->
                timed {
                    val space = one.personalSpace()
                    val doc = one.createDocument(space, "notes")
                    doc.edit { put("/title", "doomed") }
                    one.syncOnce(patience)
                    two.syncOnce(patience)
                    val other = two.document(space, doc.id())
                    one.deleteDocument(space, doc.id())
                    one.syncOnce(patience)
                    // Not known here yet.
                    other.edit { put("/title", "too late") }
                    val kept = two.createDocument(space, "notes")
                    kept.edit { put("/title", "behind it") }
                    two.syncOnce(patience)
                    val refused = two.quarantine(space).single()
                    checkEqual(refused.document, doc.id())
                    checkEqual(refused.reason, QuarantineReason.Refused("document_deleted") as QuarantineReason)
                    val gone = checkThrows<RejoinException.Deleted> { two.document(space, doc.id()) }
                    checkEqual(gone.document, doc.id())
                    // What was behind it is not held up.
                    check(kept.editState(1u) is ChangeState.Durable) { "${kept.editState(1u)}" }
                    one.syncOnce(patience)
                    checkEqual(one.document(space, kept.id()).json("/title"), "\"behind it\"")
                }
            }
        }
    }

    test("a server that is not there is said, and edits go on") {
        // A port on which nobody listens: it was bound a moment ago, and given back.
        val port = java.net.ServerSocket(0).use { it.localPort }
        val options = server.options(server.unique("ann")).copy(server = "http://127.0.0.1:$port")
        RejoinClient.openBlocking(options).use { phone ->
            timed {
                val doc = phone.createDocument(phone.personalSpace(), "notes")
                // It tries until its time is over.
                val offline = checkThrows<RejoinException.Offline> { phone.syncOnce(1.seconds) }
                check("cannot be reached" in "$offline") { "$offline" }
                doc.edit { put("/n", 1) }
                check(!phone.waitDurable(phone.personalSpace(), 0.seconds)) { "it cannot be" }
            }
        }
    }

    test("a client without a server says so") {
        offline { phone ->
            checkThrows<RejoinException.NoServer> { phone.start() }
            timed { checkThrows<RejoinException.NoServer> { phone.syncOnce(patience) } }
            checkThrows<IllegalArgumentException> { timed { phone.syncOnce((-1).seconds) } }
        }
    }
}
