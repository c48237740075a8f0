//! What companies and operating systems demand: HTTP of the app's own, silent pushes, restored backups.

package dev.rejoin.tests

import dev.rejoin.Account
import dev.rejoin.HttpHeader
import dev.rejoin.HttpResponse
import dev.rejoin.HttpTransport
import dev.rejoin.OpenOptions
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.edit
import dev.rejoin.syncOnce
import java.io.File
import java.io.IOException
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse.BodyHandlers
import java.time.Duration
import java.util.UUID
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

private val patience = PATIENCE_S.seconds

/** Java's own stack; fails as often as it is told to at first. */
private class OurHttp(private val failures: Int = 0) : HttpTransport {
    val requests = AtomicInteger()
    private val client = HttpClient.newHttpClient()

    override suspend fun post(url: String, headers: List<HttpHeader>, body: ByteArray, timeoutMs: ULong): HttpResponse {
        if (requests.getAndIncrement() < failures) throw IOException("the proxy is not there")
        val request = HttpRequest.newBuilder(URI(url)).timeout(Duration.ofMillis(timeoutMs.toLong()))
            .POST(HttpRequest.BodyPublishers.ofByteArray(body))
        headers.forEach { request.header(it.name, it.value) }
        val answer = withContext(Dispatchers.IO) { client.send(request.build(), BodyHandlers.ofByteArray()) }
        val answered = answer.headers().map().flatMap { (name, values) -> values.map { HttpHeader(name, it) } }
        return HttpResponse(answer.statusCode().toUShort(), answered, answer.body())
    }
}

fun Tests.stack(server: Server) {
    test("changes go through HTTP of the app's own") {
        val user = server.unique("ann")
        val http = OurHttp()
        RejoinClient.openBlocking(server.options(user).copy(http = http)).use { phone ->
            timed {
                val doc = phone.createDocument(phone.personalSpace(), "notes")
                doc.edit { put("/n", 1) }
                phone.syncOnce(patience)
                server.phone(user).use { other ->
                    other.syncOnce(patience)
                    checkEqual(other.document(other.personalSpace(), doc.id()).json("/n"), "1")
                }
            }
            check(http.requests.get() > 0) { "it was asked" }
        }
    }

    test("HTTP of the app's own that throws is as if offline, and tried again") {
        val http = OurHttp(failures = 1)
        RejoinClient.openBlocking(server.options(server.unique("ann")).copy(http = http)).use { phone ->
            timed {
                phone.createDocument(phone.personalSpace(), "notes").edit { put("/n", 1) }
                phone.syncOnce(patience)
                checkEqual(phone.pending(phone.personalSpace()).changes, 0UL)
            }
            check(http.requests.get() > 1) { "it was asked again" }
        }
    }

    test("a budget of bytes is kept, and the next call goes on") {
        val user = server.unique("ann")
        server.phone(user).use { one ->
            server.phone(user).use { two ->
                timed {
                    val space = one.personalSpace()
                    // What cannot be packed, so that it takes more than one budget.
                    val bytes = kotlin.random.Random(7)
                    repeat(12) { one.createDocument(space, "notes").edit { put("/bytes", bytes.nextBytes(8 shl 10)) } }
                    one.syncOnce(patience)
                    var calls = 0
                    do {
                        check(calls++ < 30) { "it comes to an end" }
                        val more = try {
                            val done = two.syncOnce(patience, byteBudget = 48L shl 10)
                            check(done.bytesSent + done.bytesReceived <= (48uL shl 10)) { "$done" }
                            done.more
                        } catch (_: RejoinException.Deadline) {
                            true
                        }
                    } while (more)
                    check(calls > 1) { "one call was not enough" }
                    checkEqual(two.documents(space, "notes").size, 12)
                }
            }
        }
    }

    test("a silent push names what there is to fetch, and garbage is refused") {
        server.phone(server.unique("ann")).use { phone ->
            val space = phone.personalSpace()
            checkEqual(phone.onPush("{}"), listOf(space))
            checkEqual(phone.onPush("""{"aps": {}, "spaces": ["$space", "${UUID.randomUUID()}"]}"""), listOf(space))
            checkEqual(phone.onPush("""{"spaces": []}"""), emptyList())
            checkThrows<RejoinException.Invalid> { phone.onPush("not JSON") }
        }
    }

    test("a restored store is known by its marker, read, and goes on as another device") {
        val marker = server.file(server.unique("marker"))
        val options = server.options(server.unique("ann")).copy(markerPath = marker)
        val id = RejoinClient.openBlocking(options).use { phone ->
            check(!phone.isRestored()) { "it is where it was made" }
            phone.createDocument(phone.personalSpace(), "notes").also { it.edit { put("/n", 1) } }.id()
        }
        RejoinClient.openBlocking(options).use { check(!it.isRestored()) { "it still is" } }
        // As a backup does: the store comes back, what backups leave out does not.
        val store = File(options.path)
        val restored = File(server.folder, server.unique("restored")).apply { mkdir() }
        store.parentFile.listFiles { file -> file.name.startsWith(store.name) }!!.forEach { it.copyTo(File(restored, it.name)) }
        val elsewhere = options.copy(path = File(restored, store.name).path, markerPath = "$marker-elsewhere")
        RejoinClient.openBlocking(elsewhere).use { phone ->
            check(phone.isRestored()) { "its marker is not there" }
            checkEqual(phone.document(phone.personalSpace(), id).json("/n"), "1")
            val refused = checkThrows<RejoinException.NeedsDevice> { timed { phone.syncOnce(1.seconds) } }
            checkEqual(refused.device, phone.wantedDevice())
        }
    }

    test("pins and roots that make no sense are refused") {
        val options = OpenOptions(server.file(server.unique("store")), user = "ann", device = UUID.randomUUID())
        checkThrows<RejoinException.Invalid> { RejoinClient.openBlocking(options.copy(pins = listOf("no pin"))) }
        checkThrows<RejoinException.Invalid> { RejoinClient.openBlocking(options.copy(roots = listOf(ByteArray(3)))) }
        checkThrows<RejoinException.Invalid> { Account.pinned(server.url, listOf("no pin"), emptyList()) }
    }
}
