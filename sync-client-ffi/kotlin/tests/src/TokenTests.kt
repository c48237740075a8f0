//! Tokens of the app's own, and providers that fail in every way.

package dev.rejoin.tests

import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.SyncStatus
import dev.rejoin.TokenProvider
import dev.rejoin.TokenProviderException
import dev.rejoin.edit
import dev.rejoin.statusFlow
import dev.rejoin.syncOnce
import dev.rejoin.tokenProvider
import dev.rejoin.waitDurable
import java.util.Collections
import java.util.UUID
import java.util.concurrent.LinkedBlockingQueue
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.flow.first

private val patience = PATIENCE_S.seconds

/** A phone whose token the server refuses from the start. */
private class Wanting(val server: Server, val user: String = server.unique("ann"), val device: UUID = UUID.randomUUID()) {
    val refused = server.strangeToken(user, device)
    val fresh by lazy { server.token(user, device) }

    fun open(provider: TokenProvider?): RejoinClient =
        RejoinClient.openBlocking(server.options(user, device, token = refused, provider = provider))
}

/** Everything that is written goes out once there is a token. */
private fun RejoinClient.goesThrough() = timed {
    createDocument(personalSpace(), "notes").edit { put("/n", 1) }
    start()
    check(waitDurable(personalSpace(), patience)) { "the server has it" }
}

fun Tests.tokens(server: Server) {
    test("a token that runs out is renewed before") {
        val (user, device) = server.unique("ann") to UUID.randomUUID()
        val asked = LinkedBlockingQueue<String>()
        val provider = tokenProvider { old -> asked.add(old ?: "none").let { server.token(user, device) } }
        // It holds, and the library wants the next one long before its end.
        val short = server.token(user, device, ttl = "5s")
        RejoinClient.openBlocking(server.options(user, device, token = short, provider = provider)).use { phone ->
            phone.goesThrough()
            checkEqual(asked.next(), short)
        }
    }

    test("a refused token is replaced by the provider's") {
        val wanting = Wanting(server)
        val asked = Collections.synchronizedList(ArrayList<String?>())
        wanting.open(tokenProvider { old -> asked.add(old).let { wanting.fresh } }).use { phone ->
            phone.goesThrough()
            checkEqual(asked.toList(), listOf<String?>(wanting.refused), "asked once, and told which one was refused")
        }
    }

    test("a provider that throws is asked again") {
        val wanting = Wanting(server)
        var calls = 0
        val provider = tokenProvider { if (calls++ == 0) throw IllegalStateException("the app's own") else wanting.fresh }
        wanting.open(provider).use { it.goesThrough() }
        checkEqual(calls, 2)
    }

    test("a provider that gives the refused token is asked again") {
        val wanting = Wanting(server)
        var calls = 0
        wanting.open(tokenProvider { refused -> if (calls++ == 0) refused!! else wanting.fresh }).use { it.goesThrough() }
        checkEqual(calls, 2)
    }

    test("a provider that hangs holds up no edit and ends with the client") {
        val wanting = Wanting(server)
        val asked = LinkedBlockingQueue<Int>()
        val cancelled = LinkedBlockingQueue<Int>()
        val hanging = tokenProvider {
            asked.add(1)
            try {
                awaitCancellation()
            } finally {
                cancelled.add(1)
            }
        }
        wanting.open(hanging).use { phone ->
            phone.start()
            asked.next()
            val doc = phone.createDocument(phone.personalSpace(), "notes")
            doc.edit { put("/n", 1) }
            checkEqual(doc.json("/n"), "1")
            timed { phone.statusFlow().first { it == SyncStatus.NeedsAuth } }
            // The app has one by other ways.
            phone.setToken(wanting.fresh)
            timed { check(phone.waitDurable(phone.personalSpace(), patience)) { "the server has it" } }
        }
        cancelled.next()
    }

    test("a provider that says signed out is not asked again, and a new token ends it") {
        val wanting = Wanting(server)
        val asked = LinkedBlockingQueue<Int>()
        wanting.open(tokenProvider { asked.add(1).let { throw TokenProviderException.SignedOut() } }).use { phone ->
            phone.start()
            asked.next()
            timed { phone.statusFlow().first { it == SyncStatus.NeedsAuth } }
            phone.setToken(wanting.fresh)
            phone.goesThrough()
            checkEqual(asked.size, 0, "asked once")
        }
    }

    test("without a provider the app is told that a token is wanted") {
        Wanting(server).open(null).use { phone ->
            timed {
                val wanted = checkThrows<RejoinException.NeedsAuth> { phone.syncOnce(patience) }
                check(wanted.text.isNotEmpty()) { "it says what to do" }
            }
        }
    }
}
