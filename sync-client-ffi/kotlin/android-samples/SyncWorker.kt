//! A sample to copy: exchanges changes when WorkManager finds it right.

package com.example.notes

import android.content.Context
import androidx.work.BackoffPolicy
import androidx.work.Constraints
import androidx.work.CoroutineWorker
import androidx.work.ExistingPeriodicWorkPolicy
import androidx.work.ExistingWorkPolicy
import androidx.work.NetworkType
import androidx.work.OneTimeWorkRequestBuilder
import androidx.work.OutOfQuotaPolicy
import androidx.work.PeriodicWorkRequestBuilder
import androidx.work.WorkManager
import androidx.work.WorkerParameters
import dev.rejoin.RejoinException
import dev.rejoin.syncOnce
import java.util.concurrent.TimeUnit
import kotlin.time.Duration.Companion.seconds

private const val PERIODIC = "rejoin-periodic"
private const val NOW = "rejoin-now"

/** A worker may take ten minutes; Doze's windows are short, and what is exchanged is kept. */
private val DEADLINE = 45.seconds

/** So often it is tried again within one period. */
private const val ATTEMPTS_MAX = 5

class SyncWorker(context: Context, parameters: WorkerParameters) : CoroutineWorker(context, parameters) {
    override suspend fun doWork(): Result {
        val again = if (runAttemptCount < ATTEMPTS_MAX) Result.retry() else Result.failure()
        return try {
            // Signed out: nothing to do, and nothing to try again.
            Rejoin.client(applicationContext)?.syncOnce(DEADLINE)
            Result.success()
        } catch (_: RejoinException.Offline) {
            again
        } catch (_: RejoinException.Deadline) {
            again
        } catch (_: RejoinException.StoreLocked) {
            // Another process of this app writes, and exchanges changes itself.
            Result.success()
        } catch (_: RejoinException) {
            // A new sign-in, an update of the app: its screens say so.
            Result.failure()
        }
    }

    companion object {
        private val connected = Constraints.Builder().setRequiredNetworkType(NetworkType.CONNECTED).build()

        /** At the app's start: what other devices wrote. 15 minutes is the least there is, and Doze makes it longer. */
        fun schedule(context: Context) {
            val request = PeriodicWorkRequestBuilder<SyncWorker>(15, TimeUnit.MINUTES)
                .setConstraints(connected)
                .setBackoffCriteria(BackoffPolicy.EXPONENTIAL, 1, TimeUnit.MINUTES)
                .build()
            val manager = WorkManager.getInstance(context)
            manager.enqueueUniquePeriodicWork(PERIODIC, ExistingPeriodicWorkPolicy.KEEP, request)
        }

        /** On an FCM message, or when the app leaves with edits that others wait for. */
        fun now(context: Context) {
            val request = OneTimeWorkRequestBuilder<SyncWorker>()
                .setConstraints(connected)
                .setExpedited(OutOfQuotaPolicy.RUN_AS_NON_EXPEDITED_WORK_REQUEST)
                .build()
            WorkManager.getInstance(context).enqueueUniqueWork(NOW, ExistingWorkPolicy.KEEP, request)
        }
    }
}
