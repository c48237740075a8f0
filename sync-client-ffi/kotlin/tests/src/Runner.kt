//! A small runner: named tests, one after the other, each with a deadline; a line for each, as cargo has them.

package dev.rejoin.tests

import java.util.concurrent.ExecutionException
import java.util.concurrent.FutureTask
import java.util.concurrent.TimeUnit
import java.util.concurrent.TimeoutException
import kotlin.system.exitProcess

/** Long enough for a loaded machine; a test that waits so long has failed. */
const val PATIENCE_S: Long = 60

/** A test may wait several times. */
private const val TEST_S: Long = 240

class Failed(message: String) : AssertionError(message)

fun check(holds: Boolean, what: () -> String) {
    if (!holds) throw Failed(what())
}

fun <T> checkEqual(actual: T, expected: T, what: String = "") {
    if (actual != expected) throw Failed("$what: expected <$expected>, got <$actual>")
}

/** What the block throws; it must be of this kind. */
inline fun <reified E : Throwable> checkThrows(block: () -> Unit): E {
    try {
        block()
    } catch (error: Throwable) {
        if (error is E) return error
        throw AssertionError("expected ${E::class.java.name}, got $error", error)
    }
    throw Failed("expected ${E::class.java.name}, nothing was thrown")
}

class Tests {
    private val named = LinkedHashMap<String, () -> Unit>()

    fun test(name: String, body: () -> Unit) {
        check(named.put(name, body) == null) { "two tests are called $name" }
    }

    /** Runs those whose names contain the filter; the number of failures. */
    fun run(filter: String): Int {
        var failed = 0
        for ((name, body) in named.filterKeys { filter in it }) {
            val error = failure(name, body)
            println("test kotlin::$name ... ${if (error == null) "ok" else "FAILED"}")
            error?.printStackTrace(System.out)
            if (error != null) failed++
        }
        System.out.flush()
        return failed
    }

    private fun failure(name: String, body: () -> Unit): Throwable? {
        val task = FutureTask { body() }
        val thread = Thread(task, name).apply { isDaemon = true }
        thread.start()
        return try {
            task.get(TEST_S, TimeUnit.SECONDS)
            null
        } catch (error: ExecutionException) {
            error.cause
        } catch (_: TimeoutException) {
            // Where it hangs is what there is to know.
            Failed("not done in $TEST_S s").apply { stackTrace = thread.stackTrace }
        }
    }
}

fun main(args: Array<String>) {
    when (args.firstOrNull()) {
        "child" -> return child(args.drop(1))
        "bench" -> return bench()
    }
    dev.rejoin.uniffiEnsureInitialized()
    val tests = Tests()
    tests.values()
    val failed = Server.start().use { server ->
        tests.edits(server)
        tests.undo()
        tests.schemas(server)
        tests.observers(server)
        tests.flows(server)
        tests.sync(server)
        tests.stack(server)
        tests.tokens(server)
        tests.accounts(server)
        tests.handles(server)
        tests.processes(server)
        tests.run(args.firstOrNull().orEmpty())
    }
    // The threads of a test that hangs would keep the process.
    exitProcess(if (failed == 0) 0 else 1)
}
