//! A sample: shared notes in a terminal, on the JVM. What is typed here shows on every other device, and the other way round.
//!
//!     java … dev.rejoin.samples.NotesKt STORE SERVER TOKEN        (`sync-server token --user ann --device new` makes a token)

package dev.rejoin.samples

import dev.rejoin.Document
import dev.rejoin.OpenOptions
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.SyncStatus
import dev.rejoin.awaitCreateDocument
import dev.rejoin.awaitDeleteDocument
import dev.rejoin.awaitDocuments
import dev.rejoin.awaitEdit
import dev.rejoin.awaitRead
import dev.rejoin.documentsFlow
import dev.rejoin.io
import dev.rejoin.statusFlow
import dev.rejoin.text
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext

private const val COLLECTION = "notes"

data class Note(val title: String, val body: String)

/** The app: lines in, lines out, until there are no more. */
suspend fun notes(client: RejoinClient, nextLine: suspend () -> String?, show: (String) -> Unit): Unit = coroutineScope {
    val space = client.personalSpace()
    val following = launch {
        launch { client.documentsFlow(space, COLLECTION).collect { show("${it.size} notes") } }
        launch { client.statusFlow().collect { show("status: ${words(it)}") } }
    }
    while (true) {
        val line = nextLine() ?: break
        try {
            obey(client, line.trim(), show)
        } catch (error: RejoinException) {
            // Its text says what to do; an app for people has words of its own.
            show("not done: $error")
        }
    }
    following.cancel()
}

private suspend fun obey(client: RejoinClient, line: String, show: (String) -> Unit) {
    val (command, rest) = line.substringBefore(' ') to line.substringAfter(' ', "")
    val space = client.personalSpace()
    when (command) {
        "" -> Unit
        "add" -> client.awaitCreateDocument(space, COLLECTION).awaitEdit {
            put("/title", rest)
            put("/body", text())
        }
        "write" -> noteAt(client, rest.substringBefore(' '))?.let { doc ->
            val end = doc.io { length("/body") } ?: 0u
            doc.awaitEdit { splice("/body", end.toInt(), insert = rest.substringAfter(' ') + "\n") }
        } ?: show("no such note")
        "delete" -> noteAt(client, rest)?.let { client.awaitDeleteDocument(space, it.id()) } ?: show("no such note")
        "list" -> client.awaitDocuments(space, COLLECTION).forEachIndexed { n, entry ->
            val note = client.io { document(space, entry.document) }.awaitRead { Note(string("title", ""), string("body", "")) }
            show("$n  ${note?.title}: ${note?.body?.lines()?.firstOrNull()}")
        }
        else -> show("add TITLE, write N TEXT, delete N, list")
    }
}

private suspend fun noteAt(client: RejoinClient, number: String): Document? {
    val space = client.personalSpace()
    val entry = number.toIntOrNull()?.let { client.awaitDocuments(space, COLLECTION).getOrNull(it) } ?: return null
    return client.io { document(space, entry.document) }
}

private fun words(status: SyncStatus): String = when (status) {
    is SyncStatus.Idle -> "everything is exchanged"
    is SyncStatus.Offline -> "offline, everything is kept"
    is SyncStatus.NeedsAuth -> "sign in again, everything is kept"
    is SyncStatus.Trouble -> "trouble: ${status.trouble}"
    else -> "exchanging"
}

fun main(args: Array<String>): Unit = runBlocking {
    require(args.size == 3) { "STORE SERVER TOKEN" }
    val (store, server, token) = args
    RejoinClient.open(OpenOptions(store, server = server, token = token)).use { client ->
        client.start()
        notes(client, nextLine = { withContext(Dispatchers.IO) { readlnOrNull() } }, show = ::println)
    }
}
