//! Schemas as blocks: `schema("notes") { version { put("/title", ""); put("/body", text("")) } }`.

package dev.rejoin

/** The versions of a schema, the first one first. A version that was shipped must stay declared as it was. */
@RejoinDsl
public class SchemaScope internal constructor() {
    internal val versions = ArrayList<CollectionVersion>()

    /**
     * The next version: what it brings, the same objects on every device. From it on, apps below version [writersFrom] may only read.
     * [migrate] gets an older document as JSON, and says what it makes of its content; only plain values may be put, and places
     * deleted, since two devices may do it at once. It must not call the client.
     */
    public fun version(
        writersFrom: Int = 0,
        migrate: (EditScope.(json: String) -> Unit)? = null,
        structure: EditScope.() -> Unit = {},
    ) {
        val migration = migrate?.let { block ->
            object : DocumentMigration {
                override fun migrate(version: UShort, json: String): List<EditOp> = try {
                    editOps { block(json) }
                } catch (error: RejoinException) {
                    throw error
                } catch (error: Throwable) {
                    throw RejoinException.Other("${error::class.simpleName}: ${error.message}")
                }
            }
        }
        versions += CollectionVersion(editOps(structure), writersFrom.toUShort(), migration)
    }
}

/** What the documents of a collection are made of, for [OpenOptions.schemas]. */
public fun schema(collection: String, block: SchemaScope.() -> Unit): CollectionSchema =
    CollectionSchema(collection, SchemaScope().apply(block).versions)
