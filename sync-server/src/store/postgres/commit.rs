//! A group of pushes to one space, in two round trips: lock the space and load what they are judged against; write what was
//! decided, and commit.

use sync_core::check::Push;
use sync_core::code::RejectCode;
use sync_core::feed::FeedHead;
use sync_core::graft::Grafts;
use sync_core::heal::Lost;
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::ledger::{Decision, Dependency, DocumentFacts, EpochStanding, Ledger, NewEntry, Tail, Wanted};
use sync_core::log::{Cursor, Verdict};
use sync_core::wire::ItemResult;
use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::super::answer::{self, Pushed, Stretch};
use super::super::lifecycle::{Filling, Standing};
use super::super::{Committed, Healed, StoreError, snapshots};
use super::pool::Pool;
use super::row::{self, uuid};
use super::session::Session;

/// Other commits to the space wait behind this. Who then reads what they wrote must see it: each statement its own moment.
/// The last column is what the log's rows get as the time at which they were received.
const LOCK: &str = "
    SELECT head_seq, head_chain, documents_total, closed, (extract(epoch FROM now()) * 1000)::bigint
    FROM spaces WHERE space_id = $1 FOR NO KEY UPDATE";
const COMMIT: &str = "COMMIT";

/// Everything that pushes are judged against, in one statement. Each lookup by several keys is a subquery that cannot be
/// turned into a join, so that it stays a look into the index whatever the planner knows of the tables.
const FACTS: &str = "
    SELECT 1, NULL::uuid, NULL::bytea, NULL::bytea, user_id, role::bigint, NULL::bigint
    FROM members WHERE space_id = $1 AND user_id = ANY($2)
    UNION ALL
    SELECT 2, device_id, NULL, chain, NULL, n, NULL
    FROM feeds WHERE space_id = $1 AND device_id = ANY($3)
    UNION ALL
    SELECT CASE WHEN deleted_seq IS NULL THEN 3 ELSE 4 END, doc_id, NULL, NULL, collection, operations, actors
    FROM documents WHERE space_id = $1 AND doc_id = ANY($4)
    UNION ALL
    SELECT 5, w.doc_id, w.actor, t.hash, NULL, t.seq, NULL
    FROM unnest($5::uuid[], $6::bytea[]) AS w (doc_id, actor), LATERAL (
        SELECT seq, hash FROM actors a WHERE a.space_id = $1 AND a.doc_id = w.doc_id AND a.actor = w.actor LIMIT 1
    ) t
    UNION ALL
    SELECT 6, w.doc_id, w.low, NULL, NULL, (
        SELECT count(*) FROM actors a
        WHERE a.space_id = $1 AND a.doc_id = w.doc_id AND a.actor >= w.low AND a.actor <= w.high
    ), NULL
    FROM unnest($7::uuid[], $8::bytea[], $9::bytea[]) AS w (doc_id, low, high)
    UNION ALL
    SELECT 7, w.doc_id, w.hash, NULL, NULL, d.verdict::bigint, d.max_op
    FROM unnest($10::uuid[], $11::bytea[]) AS w (doc_id, hash), LATERAL (
        SELECT CASE WHEN l.seq <= coalesce((SELECT epoch_seq FROM documents WHERE space_id = $1 AND doc_id = w.doc_id), 0)
                    THEN 26 ELSE verdict END AS verdict, max_op FROM log l
        WHERE l.space_id = $1 AND l.doc_id = w.doc_id AND l.hash = w.hash AND l.kind = 2
        ORDER BY l.verdict LIMIT 1
    ) d
    UNION ALL
    SELECT 8, doc_id, NULL, epoch_head, NULL, epoch, epoch_max_op
    FROM documents WHERE space_id = $1 AND doc_id = ANY($4) AND epoch > 0
    UNION ALL
    SELECT 9, w.doc_id, w.device, NULL, NULL, w.through,
        (CASE WHEN EXISTS (
            SELECT 1 FROM log l
            WHERE l.space_id = $1 AND l.seq > w.through AND l.doc_id = w.doc_id AND l.kind = 2 AND l.verdict = 0
        ) THEN 1 ELSE 0 END
        + CASE WHEN EXISTS (
            SELECT 1 FROM readers r
            WHERE r.space_id = $1 AND r.device_id <> w.of AND r.seen_ms >= w.since AND r.seq < w.through AND EXISTS (
                SELECT 1 FROM log l
                WHERE l.space_id = $1 AND l.seq > r.seq AND l.seq <= w.through AND l.doc_id = w.doc_id AND l.kind = 2
                      AND l.verdict = 0 AND l.device_id <> r.device_id)
        ) THEN 2 ELSE 0 END)::bigint
    FROM unnest($12::uuid[], $13::bigint[], $14::bytea[], $15::uuid[], $16::bigint[])
        AS w (doc_id, through, device, of, since)
    UNION ALL
    SELECT 10, doc_id, NULL, bytes, NULL, NULL, NULL FROM grafts WHERE space_id = $1 AND doc_id = ANY($4)";

/// What changes of a document carry from one of them on.
const BEHIND: &str = "
    SELECT p.bytes FROM log l JOIN payloads p ON p.space_id = $1 AND p.seq = l.seq
    WHERE l.space_id = $1 AND l.doc_id = $2 AND l.kind = 2 AND l.verdict = 0 AND l.seq >= (
        SELECT min(e.seq) FROM log e WHERE e.space_id = $1 AND e.doc_id = $2 AND e.hash = $3 AND e.kind = 2 AND e.verdict = 0)
    ORDER BY l.seq";

/// How documents stand of which something was excluded.
const GRAFTS: &str = "
    INSERT INTO grafts (space_id, doc_id, bytes) SELECT $1, * FROM unnest($2::uuid[], $3::bytea[])
    ON CONFLICT (space_id, doc_id) DO UPDATE SET bytes = excluded.bytes";

/// Documents begin anew: what stood for the epoch before goes.
const EPOCHS: &str = "
    WITH begun AS (SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bigint[], $7::text[])
                   AS w (doc_id, epoch, seq, head, max_op, collection)),
    actors AS (DELETE FROM actors WHERE space_id = $1 AND doc_id = ANY($2)),
    snapshots AS (DELETE FROM snapshots WHERE space_id = $1 AND doc_id = ANY($2)),
    unfolded AS (DELETE FROM unfolded WHERE space_id = $1 AND doc_id = ANY($2)),
    grafts AS (DELETE FROM grafts WHERE space_id = $1 AND doc_id = ANY($2))
    INSERT INTO documents AS d (space_id, doc_id, collection, operations, actors, tail_changes, tail_bytes,
                                epoch, epoch_seq, epoch_head, epoch_max_op, epoch_cleared)
    SELECT $1, doc_id, collection, max_op, 1, 0, 0, epoch, seq, head, max_op, false FROM begun
    ON CONFLICT (space_id, doc_id) DO UPDATE SET
        epoch = excluded.epoch, epoch_seq = excluded.epoch_seq, epoch_head = excluded.epoch_head,
        epoch_max_op = excluded.epoch_max_op, epoch_cleared = false, tail_changes = 0, tail_bytes = 0";

/// Everything that a decision changes, in one statement: each table's rows as arrays.
const WRITE: &str = "
    WITH entries AS (
        INSERT INTO log (space_id, seq, device_id, n, kind, doc_id, hash, verdict, chain, payload_bytes,
                         actor, actor_seq, start_op, max_op, deps)
        SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::bigint[], $5::smallint[], $6::uuid[], $7::bytea[],
                                 $8::smallint[], $9::bytea[], $10::integer[], $11::bytea[], $12::bigint[],
                                 $13::bigint[], $14::bigint[], $15::bytea[])
    ), carried AS (
        INSERT INTO payloads (space_id, seq, bytes) SELECT $1, * FROM unnest($16::bigint[], $17::bytea[])
    ), heads AS (
        INSERT INTO feeds (space_id, device_id, n, chain)
        SELECT $1, * FROM unnest($18::uuid[], $19::bigint[], $20::bytea[])
        ON CONFLICT (space_id, device_id) DO UPDATE SET n = excluded.n, chain = excluded.chain
    ), facts AS (
        INSERT INTO documents (space_id, doc_id, collection, deleted_seq, operations, actors, tail_changes, tail_bytes)
        SELECT $1, * FROM unnest($21::uuid[], $22::text[], $23::bigint[], $24::bigint[], $25::bigint[],
                                 $33::bigint[], $34::bigint[])
        ON CONFLICT (space_id, doc_id) DO UPDATE SET
            deleted_seq = coalesce(documents.deleted_seq, excluded.deleted_seq),
            operations = excluded.operations, actors = excluded.actors,
            tail_changes = documents.tail_changes + excluded.tail_changes,
            tail_bytes = documents.tail_bytes + excluded.tail_bytes
    ), tails AS (
        INSERT INTO actors (space_id, doc_id, actor, seq, hash)
        SELECT $1, * FROM unnest($26::uuid[], $27::bytea[], $28::bigint[], $29::bytea[])
        ON CONFLICT (space_id, doc_id, actor) DO UPDATE SET seq = excluded.seq, hash = excluded.hash
    )
    UPDATE spaces SET head_seq = $30, head_chain = $31, documents_total = $32 WHERE space_id = $1";

/// The verdicts of what the log holds already, by push and in the order of the feed.
const KNOWN: &str = "
    SELECT w.push, l.seq, l.verdict
    FROM unnest($2::integer[], $3::uuid[], $4::bigint[], $5::bigint[]) AS w (push, device_id, after, through),
         LATERAL (SELECT n, seq, verdict FROM log
                  WHERE space_id = $1 AND device_id = w.device_id AND n > w.after AND n <= w.through AND kind <> 4
                  ORDER BY n LIMIT w.through - w.after) l
    ORDER BY w.push, l.n";

/// When another server took what fills a log.
const RECEIVED: &str = "
    UPDATE log SET received_at = to_timestamp(w.at / 1000.0)
    FROM unnest($2::bigint[], $3::bigint[]) AS w (seq, at) WHERE log.space_id = $1 AND log.seq = w.seq";

/// Decides on a group and takes it, all or nothing.
pub(super) async fn group(
    client: &Session,
    pool: &Pool,
    space: SpaceId,
    pushes: Vec<Push>,
) -> Result<Committed, StoreError> {
    let (mut ledger, received_ms) = load(client, pool.begin(), space, &Wanted::of(&pushes)).await?;
    let before = ledger.head;
    let pushed: Vec<Pushed> = pushes.iter().map(Pushed::of).collect();
    let decision = ledger.decide(pushes);
    write_seldom(client, &ledger, &decision).await?;
    let stretches = pushed.iter().zip(&decision.outcomes).map(|(pushed, outcome)| pushed.duplicates(outcome));
    let stretches: Vec<Option<Stretch>> = stretches.collect();
    let ((), mut known, ()) = try_join!(
        biased;
        write(client, &ledger, &decision),
        look_up(client, space, &stretches),
        async { Ok(client.batch_execute(COMMIT).await?) },
    )?;
    let mut answers = Vec::with_capacity(pushed.len());
    for (at, (pushed, outcome)) in pushed.iter().zip(&decision.outcomes).enumerate() {
        answers.push(pushed.answer(&ledger, outcome, std::mem::take(&mut known[at])));
    }
    Ok(Committed { answers, before, head: ledger.head, entries: decision.entries, received_ms })
}

/// Takes back what the log lost, in as many round trips.
pub(super) async fn take_back(
    client: &Session,
    pool: &Pool,
    space: SpaceId,
    lost: Vec<Lost>,
) -> Result<Healed, StoreError> {
    let (mut ledger, received_ms) = load(client, pool.begin(), space, &Lost::wanted(&lost)).await?;
    let before = ledger.head;
    let (decision, became) = ledger.take_back(lost);
    write_seldom(client, &ledger, &decision).await?;
    try_join!(
        biased;
        write(client, &ledger, &decision),
        async { Ok(client.batch_execute(COMMIT).await?) },
    )?;
    let entries = decision.entries;
    let committed = Committed { answers: Vec::new(), before, head: ledger.head, entries, received_ms };
    Ok(Healed { committed, became })
}

/// Adds to a log that is being filled, in as many round trips. `None` where it is not the one that these continue.
pub(super) async fn fill(
    client: &Session,
    pool: &Pool,
    space: SpaceId,
    filling: Filling,
) -> Result<Option<Cursor>, StoreError> {
    let (mut ledger, standing, _) = read(client, pool.begin(), space, &Lost::wanted(&filling.entries)).await?;
    if standing != Standing::Filling || ledger.head != filling.base {
        client.batch_execute("ROLLBACK").await?;
        return Ok(None);
    }
    let (decision, _) = ledger.take_back(filling.entries);
    write_seldom(client, &ledger, &decision).await?;
    let id = uuid(space.as_bytes());
    let seqs: Vec<i64> = decision.entries.iter().map(|entry| entry.at.seq as i64).collect();
    let times: Vec<i64> =
        filling.received_ms.iter().take(seqs.len()).map(|&at| i64::try_from(at).unwrap_or(i64::MAX)).collect();
    let times = [(&id as _, Type::UUID), (&seqs as _, Type::INT8_ARRAY), (&times as _, Type::INT8_ARRAY)];
    try_join!(
        biased;
        write(client, &ledger, &decision),
        async { Ok(client.execute_typed(RECEIVED, &times).await?) },
        async { Ok(client.batch_execute(COMMIT).await?) },
    )?;
    Ok(Some(ledger.head))
}

/// Also the time at which what is written now is received.
async fn load(client: &Session, begin: &str, space: SpaceId, wanted: &Wanted) -> Result<(Ledger, u64), StoreError> {
    let (ledger, standing, received_ms) = read(client, begin, space, wanted).await?;
    if let Err(error) = standing.pass() {
        client.batch_execute(COMMIT).await?;
        return Err(error);
    }
    Ok((ledger, received_ms))
}

async fn read(
    client: &Session,
    begin: &str,
    space: SpaceId,
    wanted: &Wanted,
) -> Result<(Ledger, Standing, u64), StoreError> {
    let id = uuid(space.as_bytes());
    let of_space: [(&(dyn ToSql + Sync), Type); 1] = [(&id, Type::UUID)];
    let ((), locked, found) = try_join!(
        biased;
        client.batch_execute(begin),
        client.query_typed(LOCK, &of_space),
        facts(client, space, wanted),
    )?;
    let Some(locked) = locked.first() else {
        client.batch_execute(COMMIT).await?;
        return Err(StoreError::UnknownSpace);
    };
    let head = Cursor { seq: row::number(locked, 0)?, chain: row::hash(locked, 1)? };
    let mut ledger = Ledger::new(space, head, row::number(locked, 2)?);
    found.iter().try_for_each(|fact| learn(&mut ledger, fact))?;
    for fact in &found {
        learn_epoch(&mut ledger, wanted, fact)?;
    }
    if !ledger.grafts.is_empty() {
        // What is depended on stands in the log as it was sealed.
        let mut sealed = Wanted { dependencies: wanted.dependencies.clone(), ..Wanted::default() };
        sealed.see_through(&ledger.grafts);
        for fact in facts(client, space, &sealed).await? {
            learn(&mut ledger, &fact)?;
        }
    }
    for &(doc, hash) in &wanted.exclusions {
        let (doc_id, of) = (uuid(doc.as_bytes()), hash.0.as_slice());
        let of: [(&(dyn ToSql + Sync), Type); 3] = [(&id, Type::UUID), (&doc_id, Type::UUID), (&of, Type::BYTEA)];
        let rows = client.query_typed(BEHIND, &of).await?;
        ledger.behind.insert((doc, hash), rows.iter().map(|found| row::get(found, 0)).collect::<Result<_, _>>()?);
    }
    Ok((ledger, Standing::from_number(row::get::<i16>(locked, 3)?.into())?, row::number(locked, 4)?))
}

/// The rows of [`FACTS`].
async fn facts(client: &Session, space: SpaceId, wanted: &Wanted) -> Result<Vec<Row>, tokio_postgres::Error> {
    let id = uuid(space.as_bytes());
    let users: Vec<&str> = wanted.users.iter().map(String::as_str).collect();
    let devices: Vec<Uuid> = wanted.devices.iter().map(|device| uuid(device.as_bytes())).collect();
    let documents: Vec<Uuid> = wanted.documents.iter().map(|doc| uuid(doc.as_bytes())).collect();
    let (actor_docs, actors): (Vec<Uuid>, Vec<&[u8]>) =
        wanted.actors.iter().map(|(doc, actor)| (uuid(doc.as_bytes()), actor.as_bytes().as_slice())).unzip();
    // An actor begins with its device's id, so those of a device lie side by side; and so do those of structures.
    let mut together: Vec<(DocId, (Actor, Actor))> =
        wanted.actors.iter().map(|(doc, actor)| (*doc, actor.counted_with())).collect();
    together.dedup();
    let together_docs: Vec<Uuid> = together.iter().map(|(doc, _)| uuid(doc.as_bytes())).collect();
    let (low, high): (Vec<&[u8]>, Vec<&[u8]>) =
        together.iter().map(|(_, (first, last))| (first.as_bytes().as_slice(), last.as_bytes().as_slice())).unzip();
    let (dep_docs, deps): (Vec<Uuid>, Vec<&[u8]>) =
        wanted.dependencies.iter().map(|(doc, hash)| (uuid(doc.as_bytes()), hash.0.as_slice())).unzip();
    let asked: Vec<_> = wanted.epochs.iter().collect();
    let epoch_docs: Vec<Uuid> = asked.iter().map(|((doc, ..), _)| uuid(doc.as_bytes())).collect();
    let through: Vec<i64> = asked.iter().map(|((_, through, _), _)| *through as i64).collect();
    let askers: Vec<&[u8]> = asked.iter().map(|((.., device), _)| device.as_bytes().as_slice()).collect();
    let asking: Vec<Uuid> = asked.iter().map(|((.., device), _)| uuid(device.as_bytes())).collect();
    let since: Vec<i64> = asked.iter().map(|(_, since)| since.cast_signed()).collect();
    let values: [(&(dyn ToSql + Sync), Type); 16] = [
        (&id, Type::UUID),
        (&users, Type::TEXT_ARRAY),
        (&devices, Type::UUID_ARRAY),
        (&documents, Type::UUID_ARRAY),
        (&actor_docs, Type::UUID_ARRAY),
        (&actors, Type::BYTEA_ARRAY),
        (&together_docs, Type::UUID_ARRAY),
        (&low, Type::BYTEA_ARRAY),
        (&high, Type::BYTEA_ARRAY),
        (&dep_docs, Type::UUID_ARRAY),
        (&deps, Type::BYTEA_ARRAY),
        (&epoch_docs, Type::UUID_ARRAY),
        (&through, Type::INT8_ARRAY),
        (&askers, Type::BYTEA_ARRAY),
        (&asking, Type::UUID_ARRAY),
        (&since, Type::INT8_ARRAY),
    ];
    client.query_typed(FACTS, &values).await
}

/// One row of [`FACTS`]: what it is about, an id, a key, a hash, a text, two numbers.
fn learn(ledger: &mut Ledger, fact: &Row) -> Result<(), StoreError> {
    let key = || row::get::<&[u8]>(fact, 2);
    match row::get::<i32>(fact, 0)? {
        1 => {
            ledger.roles.insert(row::get(fact, 4)?, row::role(row::get::<i64>(fact, 5)?)?);
        }
        2 => {
            let head = FeedHead { n: row::number(fact, 5)?, chain: row::hash(fact, 3)? };
            ledger.feeds.insert(row::device(fact, 1)?, head);
        }
        about @ (3 | 4) => {
            let (operations, actors) = (row::number(fact, 5)?, row::number(fact, 6)?);
            let facts =
                DocumentFacts { collection: row::get(fact, 4)?, deleted: about == 4, operations, actors, epoch: 0 };
            ledger.documents.insert(row::doc(fact, 1)?, facts);
        }
        5 => {
            let actor = Actor::from_slice(key()?).map_err(|error| StoreError::Fault(error.into()))?;
            let tail = Tail { seq: row::number(fact, 5)?, hash: row::hash(fact, 3)? };
            ledger.tails.insert((row::doc(fact, 1)?, actor), tail);
        }
        6 => {
            let actor = Actor::from_slice(key()?).map_err(|error| StoreError::Fault(error.into()))?;
            ledger.actors_together.insert((row::doc(fact, 1)?, actor), row::number(fact, 5)?);
        }
        9 => {
            let device = DeviceId::from_slice(key()?).map_err(|error| StoreError::Fault(error.into()))?;
            let said: i64 = row::get(fact, 6)?;
            let standing = EpochStanding { moved: said & 1 != 0, behind: said & 2 != 0 };
            ledger.standings.insert((row::doc(fact, 1)?, row::number(fact, 5)?, device), standing);
        }
        10 => {
            let bytes = row::get::<&[u8]>(fact, 3)?;
            ledger.grafts.insert(row::doc(fact, 1)?, Grafts::decode(bytes).map_err(|_| row::corrupt("grafts"))?);
        }
        8 => {}
        _ => {
            let hash = Hash::from_slice(key()?).map_err(|error| StoreError::Fault(error.into()))?;
            let known = match row::verdict(row::get::<i64>(fact, 5)?)? {
                Verdict::Applied => Dependency::Applied { max_op: row::number(fact, 6)? },
                Verdict::Rejected(RejectCode::EpochPassed) => Dependency::Passed,
                Verdict::Rejected(_) => Dependency::Refused,
            };
            ledger.dependencies.insert((row::doc(fact, 1)?, hash), known);
        }
    }
    Ok(())
}

/// What a row says of the epoch of a document that is known by now.
fn learn_epoch(ledger: &mut Ledger, wanted: &Wanted, fact: &Row) -> Result<(), StoreError> {
    if row::get::<i32>(fact, 0)? != 8 {
        return Ok(());
    }
    let (doc, head) = (row::doc(fact, 1)?, row::hash(fact, 3)?);
    let (epoch, max_op) = (row::number(fact, 5)?, row::number(fact, 6)?);
    if let Some(document) = ledger.documents.get_mut(&doc) {
        document.epoch = epoch;
    }
    if wanted.dependencies.contains(&(doc, head)) {
        ledger.dependencies.insert((doc, head), Dependency::Applied { max_op });
    }
    Ok(())
}

/// What most decisions do not change.
async fn write_seldom(client: &Session, ledger: &Ledger, decision: &Decision) -> Result<(), StoreError> {
    begin_epochs(client, ledger, decision).await?;
    if decision.grafts.is_empty() {
        return Ok(());
    }
    let made = decision.grafts.iter().map(|doc| Some((uuid(doc.as_bytes()), ledger.grafts.get(doc)?.encode())));
    let made = made.collect::<Option<Vec<_>>>().ok_or_else(|| row::corrupt("decision on an exclusion"))?;
    let (docs, bytes): (Vec<Uuid>, Vec<Vec<u8>>) = made.into_iter().unzip();
    let id = uuid(ledger.space.as_bytes());
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&id, Type::UUID), (&docs, Type::UUID_ARRAY), (&bytes, Type::BYTEA_ARRAY)];
    client.execute_typed(GRAFTS, &parameters).await?;
    Ok(())
}

async fn begin_epochs(client: &Session, ledger: &Ledger, decision: &Decision) -> Result<(), StoreError> {
    if decision.epochs.is_empty() {
        return Ok(());
    }
    let id = uuid(ledger.space.as_bytes());
    let all: Vec<_> = decision.epochs.iter().collect();
    let docs: Vec<Uuid> = all.iter().map(|(doc, _)| uuid(doc.as_bytes())).collect();
    let numbers: Vec<i64> = all.iter().map(|(_, (_, facts))| facts.number as i64).collect();
    let seqs: Vec<i64> = all.iter().map(|(_, (seq, _))| *seq as i64).collect();
    let heads: Vec<&[u8]> = all.iter().map(|(_, (_, facts))| facts.head.0.as_slice()).collect();
    let max_ops: Vec<i64> = all.iter().map(|(_, (_, facts))| facts.operations as i64).collect();
    // Where a log is taken back or filled, its creation may be in the same group.
    let collections: Vec<&str> = all
        .iter()
        .map(|(doc, _)| ledger.documents.get(doc).map(|document| document.collection.as_str()))
        .collect::<Option<_>>()
        .ok_or_else(|| row::corrupt("decision on an epoch"))?;
    let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
        (&id, Type::UUID),
        (&docs, Type::UUID_ARRAY),
        (&numbers, Type::INT8_ARRAY),
        (&seqs, Type::INT8_ARRAY),
        (&heads, Type::BYTEA_ARRAY),
        (&max_ops, Type::INT8_ARRAY),
        (&collections, Type::TEXT_ARRAY),
    ];
    client.execute_typed(EPOCHS, &parameters).await?;
    Ok(())
}

/// The columns of new entries.
#[derive(Default)]
struct Entries<'a> {
    seq: Vec<i64>,
    device: Vec<Uuid>,
    n: Vec<i64>,
    kind: Vec<i16>,
    doc: Vec<Uuid>,
    hash: Vec<&'a [u8]>,
    verdict: Vec<i16>,
    chain: Vec<&'a [u8]>,
    payload_bytes: Vec<i32>,
    actor: Vec<Option<&'a [u8]>>,
    actor_seq: Vec<Option<i64>>,
    start_op: Vec<Option<i64>>,
    max_op: Vec<Option<i64>>,
    deps: Vec<Option<Vec<u8>>>,
    payload_seq: Vec<i64>,
    payload: Vec<&'a [u8]>,
}

impl<'a> Entries<'a> {
    fn add(&mut self, entry: &'a NewEntry) {
        let header = &entry.header;
        let seq = entry.at.seq as i64;
        let change = entry.change.as_ref();
        self.seq.push(seq);
        self.device.push(uuid(header.id.device.as_bytes()));
        self.n.push(header.id.n as i64);
        self.kind.push(header.kind.number().into());
        self.doc.push(uuid(header.doc.as_bytes()));
        self.hash.push(&header.hash.0);
        self.verdict.push(header.verdict.number().into());
        self.chain.push(&entry.at.chain.0);
        self.payload_bytes.push(entry.payload.as_ref().map_or(0, Vec::len) as i32);
        self.actor.push(change.map(|facts| facts.actor.as_bytes().as_slice()));
        self.actor_seq.push(change.map(|facts| facts.seq as i64));
        self.start_op.push(change.map(|facts| facts.start_op as i64));
        self.max_op.push(change.map(|facts| facts.max_op() as i64));
        self.deps.push(change.map(|facts| facts.deps.iter().flat_map(|dep| dep.0).collect()));
        if let Some(bytes) = &entry.payload {
            self.payload_seq.push(seq);
            self.payload.push(bytes);
        }
    }
}

async fn write(client: &Session, ledger: &Ledger, decision: &Decision) -> Result<(), StoreError> {
    if decision.entries.is_empty() {
        return Ok(());
    }
    let id = uuid(ledger.space.as_bytes());
    let mut entries = Entries::default();
    decision.entries.iter().for_each(|entry| entries.add(entry));
    let heads: Vec<(DeviceId, FeedHead)> =
        decision.feeds.iter().map(|&device| (device, ledger.acked(device))).collect();
    let feed_device: Vec<Uuid> = heads.iter().map(|(device, _)| uuid(device.as_bytes())).collect();
    let feed_n: Vec<i64> = heads.iter().map(|(_, head)| head.n as i64).collect();
    let feed_chain: Vec<&[u8]> = heads.iter().map(|(_, head)| head.chain.0.as_slice()).collect();
    let (deletions, added) = (decision.deletions(), snapshots::added(&decision.entries));
    let (mut doc, mut collection, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    let (mut operations, mut actors) = (Vec::new(), Vec::new());
    let (mut tail_changes, mut tail_bytes) = (Vec::new(), Vec::new());
    for id in &decision.documents {
        let facts = ledger.documents.get(id).ok_or_else(|| row::corrupt("decision on a document"))?;
        doc.push(uuid(id.as_bytes()));
        collection.push(facts.collection.as_str());
        deleted.push(deletions.get(id).map(|&seq| seq as i64));
        operations.push(facts.operations as i64);
        actors.push(facts.actors as i64);
        let tail = added.get(id).copied().unwrap_or_default();
        tail_changes.push(tail.changes as i64);
        tail_bytes.push(tail.bytes as i64);
    }
    let (mut tail_doc, mut tail_actor, mut tail_seq, mut tail_hash) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for key in &decision.actors {
        let tail = ledger.tails.get(key).ok_or_else(|| row::corrupt("decision on an actor"))?;
        tail_doc.push(uuid(key.0.as_bytes()));
        tail_actor.push(key.1.as_bytes().as_slice());
        tail_seq.push(tail.seq as i64);
        tail_hash.push(tail.hash.0.as_slice());
    }
    let (head_seq, head_chain) = (ledger.head.seq as i64, ledger.head.chain.0.as_slice());
    let documents_total = ledger.documents_total as i64;
    let parameters: [(&(dyn ToSql + Sync), Type); 34] = [
        (&id, Type::UUID),
        (&entries.seq, Type::INT8_ARRAY),
        (&entries.device, Type::UUID_ARRAY),
        (&entries.n, Type::INT8_ARRAY),
        (&entries.kind, Type::INT2_ARRAY),
        (&entries.doc, Type::UUID_ARRAY),
        (&entries.hash, Type::BYTEA_ARRAY),
        (&entries.verdict, Type::INT2_ARRAY),
        (&entries.chain, Type::BYTEA_ARRAY),
        (&entries.payload_bytes, Type::INT4_ARRAY),
        (&entries.actor, Type::BYTEA_ARRAY),
        (&entries.actor_seq, Type::INT8_ARRAY),
        (&entries.start_op, Type::INT8_ARRAY),
        (&entries.max_op, Type::INT8_ARRAY),
        (&entries.deps, Type::BYTEA_ARRAY),
        (&entries.payload_seq, Type::INT8_ARRAY),
        (&entries.payload, Type::BYTEA_ARRAY),
        (&feed_device, Type::UUID_ARRAY),
        (&feed_n, Type::INT8_ARRAY),
        (&feed_chain, Type::BYTEA_ARRAY),
        (&doc, Type::UUID_ARRAY),
        (&collection, Type::TEXT_ARRAY),
        (&deleted, Type::INT8_ARRAY),
        (&operations, Type::INT8_ARRAY),
        (&actors, Type::INT8_ARRAY),
        (&tail_doc, Type::UUID_ARRAY),
        (&tail_actor, Type::BYTEA_ARRAY),
        (&tail_seq, Type::INT8_ARRAY),
        (&tail_hash, Type::BYTEA_ARRAY),
        (&head_seq, Type::INT8),
        (&head_chain, Type::BYTEA),
        (&documents_total, Type::INT8),
        (&tail_changes, Type::INT8_ARRAY),
        (&tail_bytes, Type::INT8_ARRAY),
    ];
    client.execute_typed(WRITE, &parameters).await?;
    Ok(())
}

/// For each push the results of its duplicates.
async fn look_up(
    client: &Session,
    space: SpaceId,
    stretches: &[Option<Stretch>],
) -> Result<Vec<Vec<ItemResult>>, StoreError> {
    let mut known: Vec<Vec<ItemResult>> = stretches.iter().map(|_| Vec::new()).collect();
    let wanted = || stretches.iter().enumerate().filter_map(|(at, stretch)| Some((at, stretch.as_ref()?)));
    if wanted().next().is_none() {
        return Ok(known);
    }
    let push: Vec<i32> = wanted().map(|(at, _)| at as i32).collect();
    let device: Vec<Uuid> = wanted().map(|(_, stretch)| uuid(stretch.device.as_bytes())).collect();
    let after: Vec<i64> = wanted().map(|(_, stretch)| stretch.after as i64).collect();
    let through: Vec<i64> = wanted().map(|(_, stretch)| stretch.through as i64).collect();
    let found = client
        .query_typed(
            KNOWN,
            &[
                (&uuid(space.as_bytes()), Type::UUID),
                (&push, Type::INT4_ARRAY),
                (&device, Type::UUID_ARRAY),
                (&after, Type::INT8_ARRAY),
                (&through, Type::INT8_ARRAY),
            ],
        )
        .await?;
    for found in &found {
        let at = usize::try_from(row::get::<i32>(found, 0)?).map_err(|_| row::corrupt("number of a push"))?;
        let results = known.get_mut(at).ok_or_else(|| row::corrupt("number of a push"))?;
        results.push(answer::duplicate(row::number(found, 1)?, row::verdict(row::get::<i16>(found, 2)?)?));
    }
    let whole = wanted().all(|(at, stretch)| known[at].len() as u64 == stretch.through - stretch.after);
    if whole { Ok(known) } else { Err(row::corrupt("log of an acknowledged feed")) }
}
