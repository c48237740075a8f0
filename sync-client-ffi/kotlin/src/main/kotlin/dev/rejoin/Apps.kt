//! What an app hands to the library, as lambdas; and presence in Kotlin's own time.

package dev.rejoin

import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/**
 * Access tokens of the app's own, for [OpenOptions.tokenProvider]. The block gets the token that was refused or runs out, and gives
 * another one; it throws [TokenProviderException.SignedOut] when nobody is signed in any more. Whatever else it throws means that
 * there is no token now.
 */
public fun tokenProvider(block: suspend (refused: String?) -> String): TokenProvider = object : TokenProvider {
    override suspend fun token(refused: String?): String = block(refused)
}

/** Gives the library's log to the app, from [level] on. Once in a process: false if somebody listens already. */
public fun logTo(level: LogLevel = LogLevel.INFO, block: (LogLine) -> Unit): Boolean = logTo(
    object : LogSink {
        override fun onLine(line: LogLine) = block(line)
    },
    level,
)

/** Shows something to whoever else is in a space, for as long as this client is connected, and [lasting] longer. */
public fun RejoinClient.showPresence(space: SpaceId, data: ByteArray, lasting: Duration = 30.seconds): Unit =
    setPresence(space, data, milliseconds(lasting))
