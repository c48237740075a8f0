//! A sample to copy: where the one client of the process lives, for screens and workers alike.

package com.example.notes

import android.content.Context
import dev.rejoin.OpenOptions
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.Session
import dev.rejoin.uniffiEnsureInitialized
import java.io.File
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock

/** A store has one writer, so a process has one client: whoever comes first opens it, and nobody shuts it. */
object Rejoin {
    private val opening = Mutex()

    @Volatile
    private var open: RejoinClient? = null

    /** The client; null while nobody is signed in. */
    suspend fun client(context: Context): RejoinClient? = open ?: opening.withLock {
        open ?: openStore(context.applicationContext)?.also { open = it }
    }

    private suspend fun openStore(context: Context): RejoinClient? {
        uniffiEnsureInitialized()
        val session = try {
            Session.resume(KeystoreCredentials(context))
        } catch (_: RejoinException.SignedOut) {
            return null
        }
        // No backup: a copy that comes back would be an old state of a device that has gone on.
        val path = File(context.noBackupFilesDir, "notes.rejoin").path
        return RejoinClient.open(
            OpenOptions(path, session = session, platform = "android", appVersion = appVersion(context)),
        )
    }

    private fun appVersion(context: Context): String =
        context.packageManager.getPackageInfo(context.packageName, 0).versionName ?: "0"
}
