//! Processes that share a store, and processes that are killed while they write.

package dev.rejoin.tests

import dev.rejoin.OpenOptions
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.Value
import dev.rejoin.edit
import dev.rejoin.syncOnce
import dev.rejoin.toKotlin
import java.io.BufferedReader
import java.io.File
import java.util.UUID
import kotlin.random.Random
import kotlin.time.Duration.Companion.seconds

private const val KILLS = 20

/** A child writes at most so many edits: it ends by itself if nobody kills it. */
private const val EDITS_MAX = 100_000

/** A JVM of its own on a store, which reports on standard output. */
private class Child(vararg arguments: String) : AutoCloseable {
    private val process: Process
    private val lines: BufferedReader

    init {
        val java = File(System.getProperty("java.home"), "bin/java").path
        val properties = listOf("jna.library.path", "rejoin.server").map { "-D$it=${System.getProperty(it)}" }
        // It starts sooner so, and lives shortly.
        val quick = listOf("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
        val main = listOf("-cp", System.getProperty("java.class.path"), "dev.rejoin.tests.RunnerKt", "child")
        val command = listOf(java) + quick + properties + main + arguments
        process = ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start()
        lines = process.inputStream.bufferedReader()
    }

    /** The next report; null when there is none any more. */
    fun report(): String? = lines.readLine()

    /** SIGKILL. By its handle: what was reported before can still be read. */
    fun kill() {
        process.toHandle().destroyForcibly()
        process.waitFor()
    }

    override fun close() = kill()
}

/** What a child does: `hold STORE` has a store open, `write STORE SERVER TOKEN SPACE DOCUMENT` edits for as long as it lives. */
fun child(arguments: List<String>) {
    val (what, path) = arguments
    when (what) {
        "hold" -> RejoinClient.openBlocking(OpenOptions(path)).use {
            println("open")
            // Until the other end is closed.
            System.`in`.read()
        }
        "write" -> {
            val (url, token, space, document) = arguments.drop(2)
            RejoinClient.openBlocking(OpenOptions(path, server = url, token = token)).use { phone ->
                phone.start()
                val doc = phone.document(UUID.fromString(space), UUID.fromString(document))
                val first = doc.length("/items")!!.toLong()
                for (n in first until first + EDITS_MAX) {
                    doc.edit {
                        insert("/items/$n", n)
                        increment("/count")
                    }
                    println(n)
                }
            }
        }
        else -> error("no such child: $what")
    }
}

fun Tests.processes(server: Server) {
    test("a store that another process has open is locked, until that is killed") {
        val options = server.options(server.unique("ann"))
        RejoinClient.openBlocking(options).use { }
        Child("hold", options.path).use { child ->
            checkEqual(child.report(), "open")
            val locked = checkThrows<RejoinException.StoreLocked> { RejoinClient.openBlocking(options) }
            checkEqual(File(locked.path).name, File(options.path).name)
            child.kill()
            RejoinClient.openBlocking(options).use { phone -> phone.createDocument(phone.personalSpace(), "notes") }
        }
    }

    test("a store that this process has open is locked, too") {
        val options = server.options(server.unique("ann"))
        RejoinClient.openBlocking(options).use {
            checkThrows<RejoinException.StoreLocked> { RejoinClient.openBlocking(options) }
        }
    }

    test("$KILLS kills lose no edit that was reported, and double none") {
        val seed = System.nanoTime()
        val random = Random(seed)
        println("kills: seed $seed")
        val (user, device) = server.unique("ann") to UUID.randomUUID()
        val options = server.options(user, device)
        val (space, id) = RejoinClient.openBlocking(options).use { phone ->
            val doc = phone.createDocument(phone.personalSpace(), "kills")
            doc.edit {
                put("/items", emptyList<Any>())
                put("/count", Value.Counter(0))
            }
            phone.personalSpace() to doc.id()
        }
        var reported = -1L
        repeat(KILLS) { round ->
            Child("write", options.path, server.url, options.token!!, "$space", "$id").use { child ->
                repeat(random.nextInt(1, 60)) { reported = (child.report() ?: throw Failed("the child ended")).toLong() }
                // Somewhere in what comes next.
                val until = System.nanoTime() + random.nextLong(10_000_000)
                while (System.nanoTime() < until) Thread.onSpinWait()
                child.kill()
                while (true) reported = (child.report() ?: break).trim().toLongOrNull() ?: break
            }
            RejoinClient.openBlocking(options).use { phone ->
                val items = phone.document(space, id).get("/items")!!.toKotlin() as List<*>
                // One edit may have been made and not reported.
                check(items.size.toLong() in reported + 1..reported + 2) { "kill $round: $reported reported, ${items.size} there" }
                checkEqual(items, List(items.size) { it.toLong() }, "kill $round")
                reported = items.size - 1L
            }
        }
        val wanted = List((reported + 1).toInt()) { it.toLong() }
        timed {
            RejoinClient.openBlocking(options).use { it.syncOnce(PATIENCE_S.seconds) }
            server.phone(user).use { other ->
                other.syncOnce(PATIENCE_S.seconds)
                val doc = other.document(space, id)
                checkEqual(doc.get("/items")!!.toKotlin(), wanted as Any, "each once, on the other device")
                checkEqual(doc.get("/count"), Value.Counter(wanted.size.toLong()), "and counted once")
            }
        }
    }
}
