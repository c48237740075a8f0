//! Observers as the library calls them: in order, whatever one of them does.

package dev.rejoin.tests

import dev.rejoin.Document
import dev.rejoin.DocumentEvent
import dev.rejoin.DocumentObserver
import dev.rejoin.RejoinClient
import dev.rejoin.StepKind
import dev.rejoin.Value
import dev.rejoin.Watch
import dev.rejoin.edit
import dev.rejoin.text
import java.util.concurrent.CompletableFuture
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger

fun observer(block: (DocumentEvent) -> Unit) = object : DocumentObserver {
    override fun onEvent(event: DocumentEvent) = block(event)
}

/** Waits for the next one. */
fun <T : Any> LinkedBlockingQueue<T>.next(): T = poll(PATIENCE_S, TimeUnit.SECONDS) ?: throw Failed("nothing came")

private fun withDocument(block: (RejoinClient, Document) -> Unit) = offline { phone ->
    block(phone, phone.createDocument(phone.personalSpace(), "notes"))
}

fun Tests.observers(@Suppress("UNUSED_PARAMETER") server: Server) {
    test("an observer hears each step, in order") {
        withDocument { _, doc ->
            val heard = LinkedBlockingQueue<DocumentEvent>()
            val watch = doc.observe(observer(heard::add))
            doc.edit {
                put("/title", "one")
                put("/body", text())
            }
            doc.edit { splice("/body", 0, insert = "typed") }
            val steps = ArrayList<Pair<String, StepKind>>()
            // How many edits one event holds is the library's affair.
            while (steps.none { it.second is StepKind.InsertText }) {
                val event = heard.next() as DocumentEvent.Changed
                checkEqual(event.document, doc.id())
                check(event.steps.all { it.local }) { "this client made them" }
                steps += event.steps.map { it.path to it.kind }
            }
            checkEqual(steps.first(), "/title" to StepKind.Put(Value.Str("one")))
            checkEqual(steps.last(), "/body" to StepKind.InsertText(0u, "typed"))
            watch.cancel()
            watch.cancel()
        }
    }

    test("an observer that throws silences nobody, itself included") {
        withDocument { _, doc ->
            val throwing = LinkedBlockingQueue<Int>()
            val other = LinkedBlockingQueue<Int>()
            val watches = listOf(
                doc.observe(observer { throwing.add(1).also { error("the app's own") } }),
                doc.observe(observer { other.add(1) }),
            )
            repeat(2) {
                doc.edit { put("/n", it) }
                throwing.next()
                other.next()
            }
            watches.forEach(Watch::cancel)
        }
    }

    test("an observer cancels itself and is not called again") {
        withDocument { _, doc ->
            val itself = CompletableFuture<Watch>()
            val calls = AtomicInteger()
            val others = LinkedBlockingQueue<Int>()
            itself.complete(
                doc.observe(
                    observer {
                        calls.incrementAndGet()
                        itself.join().cancel()
                    },
                ),
            )
            // Told after the first one, which is older.
            val watch = doc.observe(observer { others.add(1) })
            repeat(3) {
                doc.edit { put("/n", it) }
                others.next()
            }
            checkEqual(calls.get(), 1)
            watch.cancel()
        }
    }

    test("an observer calls back in") {
        withDocument { phone, doc ->
            val done = LinkedBlockingQueue<String>()
            val watch = doc.observe(
                observer {
                    val n = (doc.get("/n") as Value.Int).value
                    if (n < 3) doc.edit { put("/n", n + 1) } else done.add("${doc.json("")} ${phone.status()}")
                },
            )
            doc.edit { put("/n", 0) }
            check(done.next().startsWith("""{"n":3}""")) { "read inside" }
            watch.cancel()
        }
    }

    test("an observer shuts the client") {
        withDocument { phone, doc ->
            val shut = LinkedBlockingQueue<Int>()
            val watch = doc.observe(observer { phone.shutdown().also { shut.add(1) } })
            doc.edit { put("/n", 1) }
            shut.next()
            watch.cancel()
        }
    }
}
