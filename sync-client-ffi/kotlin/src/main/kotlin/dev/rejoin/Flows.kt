//! Observers as flows. Each begins to listen when it is collected, reads once, and stops when its collector is cancelled.
//!
//! A flow never keeps the library's observer thread waiting. Those that show a state (documents, lists, status, presence) skip to
//! the newest where the collector is slow; events wait, so many of them, and become "look again" if there are more.
//!
//! A flow does not end by itself: of a client that is shut it hears nothing more. Its scope ends it.

package dev.rejoin

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.transform

/** Events of one document that wait for a slow collector. */
private const val EVENTS_MAX = 64

/** Something to read, now and whenever it may have changed. */
private fun <T> reading(watch: (changed: () -> Unit) -> Watch, read: () -> T): Flow<T> =
    callbackFlow {
        // Listens first, so that nothing falls between the first read and the first call. `conflate` makes room for one.
        val watching = watch { trySend(Unit) }
        trySend(Unit)
        awaitClose { watching.use { it.cancel() } }
    }.conflate().map { read() }.flowOn(Dispatchers.IO)

/** Something to follow step by step. `again` gives what stands for a step that is left out; null for what is no step. */
private fun <E : Any> following(watch: (tell: (E) -> Unit) -> Watch, again: (E) -> E?): Flow<E> =
    callbackFlow {
        val waiting = Waiting(again)
        val watching = watch { event ->
            waiting.add(event)
            trySend(waiting)
        }
        awaitClose { watching.use { it.cancel() } }
    }.conflate().transform { waiting ->
        while (true) emit(waiting.take() ?: break)
    }

/** Events that wait, at most so many. */
private class Waiting<E : Any>(private val again: (E) -> E?) {
    private val events = ArrayDeque<E>()

    @Synchronized
    fun add(event: E) {
        val instead = again(event)
        when {
            // Whoever looks again needs no steps from before.
            instead == null -> replace(event)
            events.lastOrNull() == instead -> Unit
            events.size >= EVENTS_MAX -> replace(instead)
            else -> events.add(event)
        }
    }

    @Synchronized
    fun take(): E? = events.removeFirstOrNull()

    private fun replace(event: E) {
        events.clear()
        events.add(event)
    }
}

/**
 * Every change of the document, in order, from the moment of collecting on. Read the document after that moment, not before.
 * [DocumentEvent.LookAgain] means to read it again.
 */
public fun Document.events(): Flow<DocumentEvent> = following({ tell -> observe(onEvent(tell)) }) { event ->
    if (event is DocumentEvent.Changed) DocumentEvent.LookAgain(event.space, event.document) else null
}

/** What becomes of this device's edits of the document, from the moment of collecting on. */
public fun Document.editEvents(): Flow<EditEvent> = following({ tell -> observeEdits(onEdits(tell)) }) { event ->
    if (event is EditEvent.Changed) EditEvent.LookAgain(event.space, event.document) else null
}

/** What has become of one edit, now and at each step that it goes: for "saved" and "sent" beside a document. */
public fun Document.editStateFlow(edit: ULong): Flow<ChangeState> =
    reading({ changed -> observeEdits(onEdits { changed() }) }) { editState(edit) }.distinctUntilChanged()

/** Which documents of a space, or of one collection in it, came, changed or went, from the moment of collecting on. */
public fun RejoinClient.collectionEvents(space: SpaceId, collection: String? = null): Flow<CollectionEvent> {
    val watch = { tell: (CollectionEvent) -> Unit ->
        val observer = object : CollectionObserver {
            override fun onCollection(event: CollectionEvent) = tell(event)
        }
        observeCollection(space, collection, observer)
    }
    return following(watch) { event ->
        if (event is CollectionEvent.Changed) CollectionEvent.LookAgain(event.space) else null
    }
}

/** What is at a path as JSON, now and after each change there. Null while there is nothing, and when the document is deleted. */
public fun Document.jsonFlow(path: String = ""): Flow<String?> =
    reading(::watchChanges) { unlessDeleted { json(path) } }.distinctUntilChanged()

/** What is at a path as something of the app's own, now and after each change: see [read]. */
public fun <T : Any> Document.readFlow(path: String = "", build: Fields.() -> T): Flow<T?> =
    reading(::watchChanges) { unlessDeleted { read(path, build) } }.distinctUntilChanged()

private fun Document.watchChanges(changed: () -> Unit): Watch = observe(onEvent { changed() })

private fun onEvent(tell: (DocumentEvent) -> Unit) = object : DocumentObserver {
    override fun onEvent(event: DocumentEvent) = tell(event)
}

private fun onEdits(tell: (EditEvent) -> Unit) = object : EditObserver {
    override fun onEdits(event: EditEvent) = tell(event)
}

private fun <T> unlessDeleted(read: () -> T): T? = try {
    read()
} catch (_: RejoinException.Deleted) {
    null
}

/** The documents of a space, or of one collection in it, now and whenever some come or go. */
public fun RejoinClient.documentsFlow(space: SpaceId, collection: String? = null): Flow<List<DocumentEntry>> {
    val watch = { changed: () -> Unit ->
        observeDocuments(space, object : ListObserver {
            override fun onList() = changed()
        })
    }
    return reading(watch) { documents(space, collection) }.distinctUntilChanged()
}

/** How synchronisation stands, now and at each change. */
public fun RejoinClient.statusFlow(): Flow<SyncStatus> {
    val watch = { changed: () -> Unit ->
        observeStatus(object : StatusObserver {
            override fun onStatus(status: SyncStatus) = changed()
        })
    }
    return reading(watch) { status() }.distinctUntilChanged()
}

/** Who else shows itself in a space, now and at each change. */
public fun RejoinClient.peersFlow(space: SpaceId): Flow<List<Peer>> {
    val watch = { changed: () -> Unit ->
        observePresence(space, object : PresenceObserver {
            override fun onPresence(peers: List<Peer>) = changed()
        })
    }
    return reading(watch) { peers(space) }
}

/** Whether the server lets this user into a space, now and at each change. */
public fun RejoinClient.accessFlow(space: SpaceId): Flow<Boolean> {
    val watch = { changed: () -> Unit ->
        observeAccess(space, object : AccessObserver {
            override fun onAccess() = changed()
        })
    }
    return reading(watch) { hasAccess(space) }.distinctUntilChanged()
}

/** Whether this device is signed in, now and at each change. */
public fun Session.stateFlow(): Flow<SessionState> {
    val watch = { changed: () -> Unit ->
        observe(object : SessionObserver {
            override fun onSession(state: SessionState) = changed()
        })
    }
    return reading(watch) { state() }.distinctUntilChanged()
}
