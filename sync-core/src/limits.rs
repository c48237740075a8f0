//! Every bound in one place, each with its reason. Units stand last in a name.

/// An actor id is a device id and 4 random bytes; automerge itself would take a mebibyte.
pub const ACTOR_BYTES: usize = 20;

/// One change, encoded. A larger paste is split by the client before it is sealed.
pub const CHANGE_BYTES_MAX: usize = 1 << 20;
/// Operations of one change: 113 bytes can claim ten million, which cost 94 s and 4.4 GiB to apply.
pub const CHANGE_OPERATIONS_MAX: u64 = 100_000;
/// Heads that one change may merge: one an actor of the document, and one.
pub const CHANGE_DEPENDENCIES_MAX: usize = 4_097;
/// Depth of objects within objects: `hydrate` of 300 levels overflows a 2 MiB stack.
pub const NESTING_DEPTH_MAX: usize = 64;
/// Operation counters stay below this, so that no arithmetic on them can leave 32 bits.
pub const OPERATION_COUNTER_MAX: u64 = 1 << 31;

/// Actors of one document: memory and the cost of an edit grow with them (1,000 actors double both).
pub const DOCUMENT_ACTORS_MAX: u64 = 4_096;
/// Actors that one device may use up in one document: one, and one for each time it re-authored.
pub const DOCUMENT_ACTORS_OF_DEVICE_MAX: u64 = 16;
/// Structures of one document: one for each version of its collection's schema, also of those that an app tried out. They are
/// counted apart from the actors of whoever brings them.
pub const DOCUMENT_STRUCTURES_MAX: u64 = 256;
/// Versions of one collection's schema.
pub const SCHEMA_VERSIONS_MAX: u16 = 256;
/// Changes of a document that can be excluded: each costs another look at all that was made upon it.
pub const DOCUMENT_EXCLUSIONS_MAX: usize = 64;
/// Operations of one document over its life.
pub const DOCUMENT_OPERATIONS_MAX: u64 = 10_000_000;
/// Documents in one space.
pub const SPACE_DOCUMENTS_MAX: u64 = 1_000_000;
/// A collection's name, in bytes of UTF-8.
pub const COLLECTION_BYTES_MAX: usize = 255;
/// The name of a document that has one, in bytes of UTF-8.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 255;

/// One push or pull page: payload bytes before compression.
pub const PAGE_BYTES_MAX: usize = 4 << 20;
/// One push or pull page: changes.
pub const PAGE_CHANGES_MAX: usize = 10_000;
/// A page once unpacked: its payloads, and what stands between them (documents, devices, hashes).
pub const PAGE_INFLATED_BYTES_MAX: usize = 8 << 20;
/// A request's or response's body: a page, and room for its frame in JSON, whose base64 needs 4 bytes for 3.
pub const BODY_BYTES_MAX: usize = 12 << 20;
/// A page, change or snapshot after decompression.
pub const INFLATED_BYTES_MAX: usize = 64 << 20;
/// And never more than this many times its encoded size; what compresses better is sent as it is.
pub const INFLATED_RATIO_MAX: usize = 100;
/// A snapshot, encoded: what its reader's memory and automerge take for it grows with it. A document that outgrows it is not
/// folded any further.
pub const SNAPSHOT_BYTES_MAX: usize = INFLATED_BYTES_MAX;
/// A snapshot up to this size travels in its page; a larger one is fetched part by part, so that a broken connection costs a
/// part and not the whole.
pub const SNAPSHOT_INLINE_BYTES_MAX: usize = 32 << 10;
/// A part of a snapshot, as it is stored and as it is fetched: no memory and no transaction holds more of one at a time.
pub const SNAPSHOT_PART_BYTES_MAX: usize = 256 << 10;
/// What an entry without its payload takes on the wire: its hash, and a little.
pub const HEADER_BYTES: u64 = 36;
/// Changes that are folded into a snapshot in one step, and their bytes: what a worker has to hold beside the snapshot.
pub const FOLD_CHANGES_MAX: usize = 20_000;
/// See [`FOLD_CHANGES_MAX`]; one change always fits.
pub const FOLD_BYTES_MAX: usize = 16 << 20;
/// Entries of a log that a phone keeps one by one, however old, to hand them back to a server that lost them: with an index or
/// two some 3 MiB, and more than any backup is behind that somebody would restore.
pub const PHONE_ENTRIES_KEPT: u64 = 10_000;
/// Changes of a document, older than those, from which on a phone folds them into a snapshot: that is written anew each time.
pub const PHONE_TAIL_CHANGES_MAX: u64 = 256;
/// Changes that a phone folds in one step, and their bytes.
pub const PHONE_FOLD_CHANGES_MAX: usize = 4_096;
/// See [`PHONE_FOLD_CHANGES_MAX`]; one change always fits.
pub const PHONE_FOLD_BYTES_MAX: usize = 4 << 20;
/// Operations of one epoch: whoever takes one in builds its content at once, and so does the server before it does, since a
/// phone could not go on without. At some ten microseconds and 450 bytes an operation that is about two seconds and 64 MiB.
pub const EPOCH_OPERATIONS_MAX: u64 = 150_000;
/// Operations of one change of an epoch: the content of a long text takes a few.
pub const EPOCH_CHANGE_OPERATIONS: usize = 50_000;
/// And about how many bytes; one operation always fits.
pub const EPOCH_CHANGE_BYTES: usize = 256 << 10;
/// Changes of one epoch. All of it, with its map, has to fit into one item of [`CHANGE_BYTES_MAX`].
pub const EPOCH_CHANGES_MAX: usize = 256;

/// Hashes that one `need` names; the client sends what it has of them and asks again.
pub const NEED_HASHES_MAX: usize = 256;

/// Places of a log that one request asks for: the distance to the last that is shared doubles from one to the next, so 64 find
/// it in any log, and each further request narrows the rest down by the same factor.
pub const HEAL_PLACES_MAX: usize = 64;
/// Requests for places before the best that is known is taken: nine narrow 2⁵⁴ entries down to one.
pub const HEAL_ROUNDS_MAX: u32 = 12;
/// Times that a phone heals a space without one exchange in between that went well: a server that says again and again that it
/// lost what it has just taken back is at fault itself.
pub const HEALS_IN_A_ROW_MAX: u32 = 3;
/// Headers of a log that are read from the disk at once to be hashed.
pub const HEAL_HEADERS_MAX: usize = 1_000;

/// The journal is sealed when it holds this many operations: one change of 4,096 keystrokes costs 1.4 bytes each.
pub const JOURNAL_OPERATIONS_MAX: u64 = 4_096;
/// The journal is sealed when it holds this many bytes, so that replaying it after a crash stays short.
pub const JOURNAL_BYTES_MAX: usize = 64 << 10;
/// Counter increments in one journal: automerge's cost of them grows with the square of their number.
pub const JOURNAL_INCREMENTS_MAX: u64 = 256;
/// Operations that the app may put into one edit; it is split into several changes, but held in memory at once.
pub const EDIT_OPERATIONS_MAX: u64 = 1_000_000;

/// Memory of open documents on a device, as estimated from their encoded size; least recently used closed first.
pub const OPEN_DOCUMENTS_BYTES_MAX: usize = 64 << 20;
/// Changes with missing dependencies that a device or a directly syncing replica parks.
pub const PARKED_CHANGES_MAX: usize = 10_000;
/// And their payload bytes: several whole pages, so that pages which overtake each other need not be sent again.
pub const PARKED_BYTES_MAX: usize = 16 << 20;
/// Devices that a version vector may name: 64 a user, and as many users as a space plausibly has members.
pub const VECTOR_DEVICES_MAX: usize = 65_536;
/// Spaces that one session looks after.
pub const SESSION_SPACES_MAX: usize = 256;

/// Edits wait this long for others before they are sealed and sent: a change a word, not one a keystroke.
pub const SEAL_DELAY_MS: u64 = 50;
/// The first retry waits up to this long (full jitter).
pub const BACKOFF_BASE_MS: u64 = 250;
/// No retry waits longer than this of itself. On average it is half of that: a phone whose server is away wakes less than
/// once a minute. A network that changes, an app that comes to the foreground, or a call for an exchange ends the wait.
pub const BACKOFF_CAP_MS: u64 = 180_000;
/// A `Retry-After` is believed up to this long, so that a broken proxy cannot park a phone for a year.
pub const RETRY_AFTER_MAX_MS: u64 = 3_600_000;
/// A request is given up after this long.
pub const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// Without a live connection, a client that has just exchanged something asks for news this often …
pub const POLL_INTERVAL_MS: u64 = 15_000;
/// … and where nothing happens ever more seldom, down to this: it wakes, and the radio with it, less than once a minute.
pub const POLL_IDLE_MAX_MS: u64 = 75_000;
/// Remote changes are shown to observers at most this often: one frame of a 60 Hz screen.
pub const APPLY_INTERVAL_MS: u64 = 16;

/// Pushes waiting for the writer; a further one is told to come again.
pub const WRITER_QUEUE_MAX: usize = 1_024;
/// Pushes that are committed in one transaction.
pub const GROUP_PUSHES_MAX: usize = 256;
/// Payload bytes that are committed in one transaction, unless one push alone holds more.
pub const GROUP_BYTES_MAX: usize = 8 << 20;
/// Reads waiting for a connection to the database.
pub const READER_QUEUE_MAX: usize = 1_024;
/// Requests that one server works on at the same time; each may hold a body in memory.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 64;
/// Edits of a document that can be undone.
pub const UNDO_STEPS_MAX: usize = 200;
/// And what is kept for that takes in memory, a document.
pub const UNDO_BYTES_MAX: usize = 1 << 20;
/// Changes that a look into a document's history gives.
pub const HISTORY_MAX: usize = 1_000;
/// What was refused for a cause that can clear is offered again when a session begins, and then waits so long for the next time …
pub const OFFER_AGAIN_BASE_MS: u64 = 60_000;
/// … twice as long each time, up to a day …
pub const OFFER_AGAIN_CAP_MS: u64 = 86_400_000;
/// … so often: each time costs a place in the feed. After that the app decides.
pub const OFFERS_MAX: u64 = 32;
/// Documents in one page of a list.
pub const DOCUMENT_PAGE_MAX: usize = 1_000;
/// Steps of one document that wait for its observers; when there are more, they are replaced by "look again".
pub const OBSERVER_QUEUE_MAX: usize = 1_024;
/// And what the steps of all documents take together: a paste is one step, however long.
pub const OBSERVER_BYTES_MAX: usize = 4 << 20;

/// One frame of a live connection: a push at its bound with a change of a mebibyte on top, in its frame. It is smaller than a
/// body of HTTP because thousands of live connections may send one at the same time.
pub const LIVE_FRAME_BYTES_MAX: usize = 9 << 18;
/// Payload bytes of one push on a live connection; one item always fits.
pub const LIVE_PUSH_BYTES_MAX: usize = 1 << 20;
/// Payload bytes of one page on a live connection: with the queue it is what a reader that does not read costs. One entry
/// always fits.
pub const LIVE_PAGE_BYTES_MAX: usize = 64 << 10;
/// Frames that wait for one live connection. When they are more, they are dropped, and the connection reads the log instead.
pub const LIVE_QUEUE_BYTES_MAX: usize = 256 << 10;
/// Entries that travel with a notice; what is larger is read from the log.
pub const NOTICE_BYTES_MAX: usize = 64 << 10;
/// Pushes of one live connection that may be under way: on a slow network a keystroke does not wait for the answer to the
/// one before it.
pub const LIVE_PUSHES_IN_FLIGHT_MAX: usize = 8;
/// A live connection that cannot be opened by then is blocked by something on the way.
pub const LIVE_OPEN_TIMEOUT_MS: u64 = 10_000;
/// A live connection says something at least this often, so that the server knows it from a dead one.
pub const LIVE_PING_INTERVAL_MS: u64 = 20_000;
/// After a change of the network the old connection must answer within this time, or a new one is opened.
pub const LIVE_PROBE_TIMEOUT_MS: u64 = 2_000;
/// So many heartbeats missed, and the connection is dead.
pub const LIVE_BEATS_MISSED_MAX: u64 = 3;
/// The first reconnect waits up to this long (full jitter): phones whose server was restarted do not come back in one second.
pub const LIVE_BACKOFF_BASE_MS: u64 = 3_000;
/// Where live connections are blocked but requests get through, they are tried again this often at the latest.
pub const LIVE_BLOCKED_RETRY_MAX_MS: u64 = 300_000;

/// What one presence message shows: a name, a colour, a cursor.
pub const PRESENCE_BYTES_MAX: usize = 4 << 10;
/// Presence messages of one connection; those beyond are dropped, and a later one replaces them.
pub const PRESENCE_PER_SECOND_MAX: u32 = 20;
/// A presence message holds at most this long if nothing follows, so that who vanished is gone everywhere.
pub const PRESENCE_TTL_MAX_MS: u64 = 60_000;
/// Who shows itself in one space; further ones are not seen.
pub const PRESENCE_PEERS_MAX: usize = 1_024;
/// Presence updates that wait for one live connection, one a peer; the first to be dropped.
pub const PRESENCE_QUEUE_MAX: usize = 256;
