//! A real server in a process of its own, and phones on stores of their own.

package dev.rejoin.tests

import dev.rejoin.OpenOptions
import dev.rejoin.RejoinClient
import dev.rejoin.TokenProvider
import java.io.File
import java.nio.file.Files
import java.util.UUID
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger

/** The server's binary, and the client's library beside it. */
private val binary = System.getProperty("rejoin.server") ?: error("set -Drejoin.server to the path of sync-server")

class Server private constructor(val folder: File, private val process: Process, val url: String) : AutoCloseable {
    private val numbers = AtomicInteger()

    /** A name that no other test has. */
    fun unique(what: String): String = "$what-${numbers.incrementAndGet()}"

    fun file(name: String): String = File(folder, name).path

    /** A token for a user's device that holds for so long. */
    fun token(user: String, device: UUID, ttl: String = "1h", data: File = folder): String {
        val command = listOf(binary, "token", "--data", data.path, "--user", user, "--device", "$device", "--ttl", ttl)
        return output(command).trim()
    }

    /** A token that another server signed: this one refuses it. */
    fun strangeToken(user: String, device: UUID): String {
        val elsewhere = File(folder, "elsewhere")
        if (!File(elsewhere, "made").exists()) {
            output(listOf(binary, "serve", "--data", elsewhere.path, "--listen", "127.0.0.1:0"), untilLine = true)
            File(elsewhere, "made").createNewFile()
        }
        return token(user, device, data = elsewhere)
    }

    /** A phone on a new store. */
    fun phone(user: String, device: UUID = UUID.randomUUID()): RejoinClient =
        RejoinClient.openBlocking(options(user, device))

    fun options(
        user: String,
        device: UUID = UUID.randomUUID(),
        path: String = file("${unique("store")}.rejoin"),
        token: String = token(user, device),
        provider: TokenProvider? = null,
    ) = OpenOptions(path, server = url, token = token, tokenProvider = provider)

    override fun close() {
        process.destroyForcibly().waitFor()
        folder.deleteRecursively()
    }

    companion object {
        fun start(): Server {
            val folder = Files.createTempDirectory("rejoin-kotlin").toFile()
            // All tests come from one address, and none of them is about limits.
            val config = File(folder, "config.toml").apply { writeText("[limits]\nrules = []\n") }
            val command =
                listOf(binary, "serve", "--config", config.path, "--data", folder.path, "--listen", "127.0.0.1:0")
            val process = ProcessBuilder(command).redirectError(File(folder, "server.log")).start()
            val line = process.inputStream.bufferedReader().readLine()
                ?: error("the server does not start: ${File(folder, "server.log").readText()}")
            // Also where this process is ended from outside.
            Runtime.getRuntime().addShutdownHook(Thread { process.destroyForcibly() })
            return Server(folder, process, line.substringAfter("listening on "))
        }
    }
}

/** What a command prints; with `untilLine`, one that goes on is ended after its first line. */
private fun output(command: List<String>, untilLine: Boolean = false): String {
    val process = ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start()
    try {
        val reader = process.inputStream.bufferedReader()
        if (untilLine) return reader.readLine() ?: error("$command says nothing")
        val text = reader.readText()
        check(process.waitFor(PATIENCE_S, TimeUnit.SECONDS) && process.exitValue() == 0) { "$command failed" }
        return text
    } finally {
        process.destroyForcibly()
    }
}
