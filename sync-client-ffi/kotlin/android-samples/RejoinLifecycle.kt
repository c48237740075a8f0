//! A sample to copy: tells the library when the app comes and goes. `ProcessLifecycleOwner.get().lifecycle.addObserver(…)`.

package com.example.notes

import android.content.Context
import androidx.lifecycle.DefaultLifecycleObserver
import androidx.lifecycle.LifecycleOwner
import dev.rejoin.RejoinClient

class RejoinLifecycle(private val context: Context, private val client: RejoinClient) : DefaultLifecycleObserver {
    override fun onStart(owner: LifecycleOwner) {
        runCatching { client.onForeground() }
    }

    override fun onStop(owner: LifecycleOwner) {
        // Sends what is pending and closes the connection; if Android freezes the process before that, the worker does it.
        runCatching { client.onBackground() }
        val pending = runCatching { client.pending(client.personalSpace()) }.getOrNull()
        if (pending != null && (pending.edits > 0u || pending.changes > 0u)) SyncWorker.now(context)
    }
}
