//! What the way through Kotlin costs. Figures count with the library that phones get, on a quiet machine:
//!
//!     sync-client-ffi/build-phone && cargo build --profile phone -p uniffi-bindgen -p sync-server
//!     REJOIN_BUILT=target/phone sync-client-ffi/kotlin/tests/run bench
//!
//! An edit waits for the disk. To see the rest of it, let java.io.tmpdir be in memory: `JAVA_TOOL_OPTIONS=-Djava.io.tmpdir=/dev/shm`;
//! `bench/` measures the same edit in Rust.

package dev.rejoin.tests

import dev.rejoin.edit
import dev.rejoin.path
import dev.rejoin.read

private const val WARM = 3_000
private const val SAMPLES = 5_000
private const val FIELDS = 100

/** Kept, so that nothing is optimised away. */
@Volatile
private var sink: Any? = null

private fun measure(name: String, block: (Int) -> Any?) {
    for (n in 0 until WARM) sink = block(n)
    val samples = LongArray(SAMPLES) { n ->
        val began = System.nanoTime()
        sink = block(n)
        System.nanoTime() - began
    }
    samples.sort()
    val (median, p99) = samples[SAMPLES / 2] / 1e3 to samples[SAMPLES * 99 / 100] / 1e3
    println("%-44s %9.1f µs median %9.1f µs p99".format(name, median, p99))
}

fun bench(): Unit = offline { phone ->
    val doc = phone.createDocument(phone.personalSpace(), "bench")
    val wide = phone.createDocument(phone.personalSpace(), "bench")
    wide.edit { for (n in 0 until FIELDS) put(path("field-$n"), if (n % 2 == 0) n else "value of field $n") }
    measure("a call that does next to nothing") { doc.id() }
    measure("an edit of one field") { n -> doc.edit { put("/n", n) } }
    measure("an edit that is refused before the disk") { n -> runCatching { doc.edit { put("no path", n) } } }
    measure("$FIELDS fields as JSON") { wide.json("") }
    measure("$FIELDS fields as values") { wide.get("") }
    measure("$FIELDS fields into an object") { wide.read { List(FIELDS) { n -> this["field-$n"] } } }
    measure("one field") { wide.get("/field-7") }
}
