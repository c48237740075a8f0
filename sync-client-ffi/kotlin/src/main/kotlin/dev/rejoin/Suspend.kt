//! What waits for the disk, for coroutines: off the main thread, on [Dispatchers.IO].
//!
//! A coroutine that is cancelled meanwhile does not take an edit back: it is on disk, or it never began.

package dev.rejoin

import kotlin.time.Duration
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

/** Anything that a client does, on a thread that may wait: `client.io { createDocument(personalSpace(), "notes") }`. */
public suspend fun <T> RejoinClient.io(block: RejoinClient.() -> T): T = withContext(Dispatchers.IO) { block() }

/** Anything that a document does, on a thread that may wait: `doc.io { length("/items") }`. */
public suspend fun <T> Document.io(block: Document.() -> T): T = withContext(Dispatchers.IO) { block() }

/** Creates a document; it is on disk when this returns. */
public suspend fun RejoinClient.awaitCreateDocument(space: SpaceId, collection: String): Document =
    io { createDocument(space, collection) }

/** Opens a document that is here. */
public suspend fun RejoinClient.awaitDocument(space: SpaceId, document: DocId): Document = io { document(space, document) }

/** Deletes a document for good, on every device. */
public suspend fun RejoinClient.awaitDeleteDocument(space: SpaceId, document: DocId): Unit =
    io { deleteDocument(space, document) }

/** The documents of a space, or of one collection in it. */
public suspend fun RejoinClient.awaitDocuments(space: SpaceId, collection: String? = null): List<DocumentEntry> =
    io { documents(space, collection) }

/** Shuts the store; what is under way comes to its end first. */
public suspend fun RejoinClient.awaitShutdown(): Unit = io { shutdown() }

/** Makes one edit; it is on disk when this returns. The block runs at once, on the caller's thread. */
public suspend fun Document.awaitEdit(block: EditScope.() -> Unit): ULong {
    val ops = editOps(block)
    return io { edit(ops) }
}

/** The value at a path; null if there is none. */
public suspend fun Document.awaitGet(path: String): Value? = io { get(path) }

/** What is at a path, as JSON; null if there is nothing. */
public suspend fun Document.awaitJson(path: String = ""): String? = io { json(path) }

/** The text at a path; null if there is none. */
public suspend fun Document.awaitText(path: String): String? = io { text(path) }

/** What is at a path, as something of the app's own: see [read]. */
public suspend fun <T : Any> Document.awaitRead(path: String = "", build: Fields.() -> T): T? = io { read(path, build) }

/** Exchanges changes until everything is up to date or time runs out. Cancelling stops the waiting, not the exchange. */
public suspend fun RejoinClient.syncOnce(deadline: Duration): SyncSummary = syncOnce(milliseconds(deadline))

/** Waits until the server has everything that this device wrote in a space. False if it has not in time. */
public suspend fun RejoinClient.waitDurable(space: SpaceId, timeout: Duration): Boolean =
    waitDurable(space, milliseconds(timeout))

/** Waits until the server has decided about an edit, and gives what has become of it by then. */
public suspend fun Document.waitForEdit(edit: ULong, timeout: Duration): ChangeState = waitForEdit(edit, milliseconds(timeout))

internal fun milliseconds(duration: Duration): ULong {
    require(!duration.isNegative()) { "a time to wait is not negative, $duration is" }
    return duration.inWholeMilliseconds.toULong()
}
