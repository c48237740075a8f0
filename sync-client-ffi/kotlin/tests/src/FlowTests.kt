//! Observers as flows: bounded, cancelled with their collector.

package dev.rejoin.tests

import dev.rejoin.CollectionEvent
import dev.rejoin.Document
import dev.rejoin.DocumentEvent
import dev.rejoin.RejoinClient
import dev.rejoin.SyncStatus
import dev.rejoin.collectionEvents
import dev.rejoin.documentPages
import dev.rejoin.documentsFlow
import dev.rejoin.edit
import dev.rejoin.events
import dev.rejoin.jsonFlow
import dev.rejoin.readFlow
import dev.rejoin.statusFlow
import java.util.concurrent.LinkedBlockingQueue
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

/** A coroutine that has failed when it takes too long. */
fun timed(block: suspend CoroutineScope.() -> Unit): Unit =
    runBlocking { withTimeout(PATIENCE_S.seconds) { block() } }

private fun withDocument(block: suspend CoroutineScope.(RejoinClient, Document) -> Unit) = offline { phone ->
    val doc = phone.createDocument(phone.personalSpace(), "notes")
    timed { block(phone, doc) }
}

fun Tests.flows(server: Server) {
    test("a flow of JSON shows what is there and each later state") {
        withDocument { _, doc ->
            doc.edit { put("/n", 0) }
            val shown = Channel<String?>(Channel.UNLIMITED)
            val collecting = launch(Dispatchers.Default) { doc.jsonFlow("/n").collect(shown::send) }
            for (n in 0..3) {
                checkEqual(shown.receive(), "$n")
                if (n < 3) doc.edit { put("/n", n + 1) }
            }
            collecting.cancelAndJoin()
        }
    }

    test("a flow reads data classes, and null once the document is deleted") {
        withDocument { phone, doc ->
            doc.edit { put("/title", "one") }
            val shown = Channel<String?>(Channel.UNLIMITED)
            val collecting = launch(Dispatchers.Default) { doc.readFlow { string("title") }.collect(shown::send) }
            checkEqual(shown.receive(), "one")
            phone.deleteDocument(phone.personalSpace(), doc.id())
            checkEqual(shown.receive(), null)
            collecting.cancelAndJoin()
        }
    }

    test("a collector that throws ends its flow and nothing else") {
        withDocument { _, doc ->
            doc.edit { put("/n", 0) }
            checkThrows<ArithmeticException> { doc.jsonFlow().collect { throw ArithmeticException("the app's own") } }
            checkEqual(doc.jsonFlow("/n").first(), "0")
        }
    }

    test("a collector takes what it wants and edits meanwhile") {
        withDocument { _, doc ->
            doc.edit { put("/n", 0) }
            val seen = doc.jsonFlow("/n").onEach { shown -> doc.edit { put("/n", shown!!.toInt() + 1) } }.take(4).toList()
            checkEqual(seen, listOf<String?>("0", "1", "2", "3"))
        }
    }

    test("a slow collector is told to look again, and costs a bounded amount") {
        withDocument { _, doc ->
            val told = LinkedBlockingQueue<Int>()
            val watch = doc.observe(observer { told.add(1) })
            val began = CompletableDeferred<Unit>()
            val goOn = CompletableDeferred<Unit>()
            val events = Channel<DocumentEvent>(Channel.UNLIMITED)
            val collecting = launch(Dispatchers.Default) {
                doc.events().collect { event ->
                    began.complete(Unit)
                    goOn.await()
                    events.send(event)
                }
            }
            // Until the flow listens, edits are not its affair.
            while (!began.isCompleted) {
                doc.edit { put("/n", -1) }
                told.next()
                kotlinx.coroutines.yield()
            }
            repeat(130) {
                doc.edit { put("/n", it) }
                told.next()
            }
            goOn.complete(Unit)
            check(events.receive() is DocumentEvent.Changed) { "the one that it was busy with" }
            check(events.receive() is DocumentEvent.LookAgain) { "the others" }
            // From here on nothing is missing any more.
            checkEqual(doc.json("/n"), "129")
            doc.edit { put("/n", "last") }
            val next = events.receive() as DocumentEvent.Changed
            checkEqual(next.steps.last().path, "/n")
            collecting.cancelAndJoin()
            watch.cancel()
        }
    }

    test("a list follows what comes and goes") {
        withDocument { phone, doc ->
            val space = phone.personalSpace()
            val sizes = Channel<Int>(Channel.UNLIMITED)
            val collecting = launch(Dispatchers.Default) { phone.documentsFlow(space, "notes").collect { sizes.send(it.size) } }
            checkEqual(sizes.receive(), 1)
            phone.createDocument(space, "notes")
            checkEqual(sizes.receive(), 2)
            phone.deleteDocument(space, doc.id())
            checkEqual(sizes.receive(), 1)
            collecting.cancelAndJoin()
        }
    }

    test("collection events name what came, changed and went") {
        withDocument { phone, doc ->
            val space = phone.personalSpace()
            val (added, changed, removed) = List(3) { LinkedHashSet<java.util.UUID>() }
            val events = Channel<CollectionEvent>(Channel.UNLIMITED)
            val collecting = launch(Dispatchers.Default) { phone.collectionEvents(space, "notes").collect(events::send) }
            suspend fun until(what: String, holds: () -> Boolean) {
                while (!holds()) {
                    val event = events.receive() as? CollectionEvent.Changed ?: throw Failed("look again before $what")
                    added += event.added
                    changed += event.changed
                    removed += event.removed
                }
            }
            // Until the flow listens, edits are not its affair.
            while (events.isEmpty) {
                doc.edit { put("/n", 1) }
                kotlinx.coroutines.yield()
            }
            until("a change") { doc.id() in changed }
            val other = phone.createDocument(space, "notes")
            phone.createDocument(space, "elsewhere")
            until("a new one") { other.id() in added }
            phone.deleteDocument(space, doc.id())
            until("a deletion") { doc.id() in removed }
            checkEqual(added, setOf(other.id()))
            collecting.cancelAndJoin()
        }
    }

    test("pages have every document once, in order") {
        offline { phone ->
            val space = phone.personalSpace()
            val all = List(25) { phone.createDocument(space, "notes").id() }
            val pages = phone.documentPages(space, "notes", limit = 10).toList()
            checkEqual(pages.map { it.size }, listOf(10, 10, 5))
            checkEqual(pages.flatten().map { it.document }, all)
            checkEqual(phone.documentPages(space, "others").toList(), emptyList())
        }
    }

    test("the status becomes idle when all is exchanged") {
        server.phone("ann").use { phone ->
            timed {
                val collecting = launch(Dispatchers.Default) { phone.statusFlow().first { it == SyncStatus.Idle } }
                phone.start()
                collecting.join()
            }
        }
    }
}
