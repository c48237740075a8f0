//! Lists of documents in pages, and everything in a folder.

package dev.rejoin

/**
 * The documents of a space, or of one collection in it, a page at a time, each read when it is asked for: a page costs the same however
 * long the list is. On [kotlinx.coroutines.Dispatchers.IO], or in [io].
 */
public fun RejoinClient.documentPages(
    space: SpaceId,
    collection: String? = null,
    limit: Int = 100,
): Sequence<List<DocumentEntry>> = sequence {
    var after: DocId? = null
    do {
        val page = documentPage(space, collection, after, limit.toUInt())
        if (page.documents.isNotEmpty()) yield(page.documents)
        after = page.next
    } while (after != null)
}

/**
 * Writes everything that is here into a new folder; [tell] hears of each document, and stops it with `false`
 * ([RejoinException.Stopped]). Cancelling stops it, too.
 */
public suspend fun RejoinClient.exportAll(folder: String, tell: (ExportProgress) -> Boolean): ExportReport = exportAll(
    folder,
    object : ExportObserver {
        override fun onProgress(progress: ExportProgress): Boolean = tell(progress)
    },
)
