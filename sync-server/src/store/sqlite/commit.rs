//! A group of pushes to one space: load what they are judged against, decide, write what was decided.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, TransactionBehavior, params};
use sync_core::check::Push;
use sync_core::code::RejectCode;
use sync_core::feed::FeedHead;
use sync_core::graft::Grafts;
use sync_core::heal::Lost;
use sync_core::id::SpaceId;
use sync_core::ledger::{Decision, Dependency, DocumentFacts, EpochStanding, Ledger, NewEntry, Tail, Wanted};
use sync_core::log::{Cursor, Verdict};
use sync_core::wire::ItemResult;

use super::super::answer::{self, Pushed, Stretch};
use super::super::lifecycle::{Filling, Standing};
use super::super::{Committed, Healed, StoreError, snapshots};
use super::{members, row};

/// The server's clock, in milliseconds since 1970. Rows carry it for people; nothing is decided by it.
pub(super) fn now_ms() -> i64 {
    #[cfg(feature = "testing")]
    if let Some(now_ms) = super::simulated::now_ms() {
        return now_ms;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Takes a group inside the caller's transaction.
pub(super) fn group(connection: &Connection, space: SpaceId, pushes: Vec<Push>) -> Result<Committed, StoreError> {
    let mut ledger = load(connection, space, Standing::Open, &Wanted::of(&pushes))?;
    let before = ledger.head;
    let pushed: Vec<Pushed> = pushes.iter().map(Pushed::of).collect();
    let decision = ledger.decide(pushes);
    let received_ms = now_ms();
    write(connection, &ledger, &decision, received_ms)?;
    let outcomes = pushed.iter().zip(&decision.outcomes);
    let answers = outcomes.map(|(pushed, outcome)| {
        let stretch = pushed.duplicates(outcome);
        let known = stretch.map_or_else(|| Ok(Vec::new()), |stretch| known(connection, space, &stretch))?;
        Ok(pushed.answer(&ledger, outcome, known))
    });
    let answers = answers.collect::<Result<_, StoreError>>()?;
    let received_ms = received_ms.cast_unsigned();
    Ok(Committed { answers, before, head: ledger.head, entries: decision.entries, received_ms })
}

/// Takes back what the log lost.
pub(super) fn take_back(connection: &mut Connection, space: SpaceId, lost: Vec<Lost>) -> Result<Healed, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut ledger = load(&transaction, space, Standing::Open, &Lost::wanted(&lost))?;
    let before = ledger.head;
    let (decision, became) = ledger.take_back(lost);
    let received_ms = now_ms();
    write(&transaction, &ledger, &decision, received_ms)?;
    transaction.commit()?;
    let (entries, received_ms) = (decision.entries, received_ms.cast_unsigned());
    let committed = Committed { answers: Vec::new(), before, head: ledger.head, entries, received_ms };
    Ok(Healed { committed, became })
}

/// Adds to a log that is being filled. `None` where it is not the one that these continue.
pub(super) fn fill(
    connection: &mut Connection,
    space: SpaceId,
    filling: Filling,
) -> Result<Option<Cursor>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (Ledger { head, .. }, standing) = load_space(&transaction, space)?;
    if standing != Standing::Filling || head != filling.base {
        return Ok(None);
    }
    let mut ledger = load(&transaction, space, Standing::Filling, &Lost::wanted(&filling.entries))?;
    let (decision, _) = ledger.take_back(filling.entries);
    write(&transaction, &ledger, &decision, now_ms())?;
    {
        let update = "UPDATE log SET received_ms = ?3 WHERE space_id = ?1 AND seq = ?2";
        let mut statement = transaction.prepare_cached(update)?;
        for (entry, received_ms) in decision.entries.iter().zip(filling.received_ms) {
            let received_ms = i64::try_from(received_ms).unwrap_or(i64::MAX);
            statement.execute(params![space.as_bytes(), entry.at.seq as i64, received_ms])?;
        }
    }
    transaction.commit()?;
    Ok(Some(ledger.head))
}

fn load(
    connection: &Connection,
    space: SpaceId,
    wanted_standing: Standing,
    wanted: &Wanted,
) -> Result<Ledger, StoreError> {
    let id = space.as_bytes();
    let (mut ledger, standing) = load_space(connection, space)?;
    if standing != wanted_standing {
        standing.pass()?;
        return Err(StoreError::Fault("an open space was to be filled".into()));
    }
    for user in &wanted.users {
        if let Some(role) = members::role(connection, space, user)? {
            ledger.roles.insert(user.clone(), role);
        }
    }
    let mut feed = connection.prepare_cached("SELECT n, chain FROM feeds WHERE space_id = ?1 AND device_id = ?2")?;
    for &device in &wanted.devices {
        let mut rows = feed.query(params![id, device.as_bytes()])?;
        if let Some(found) = rows.next()? {
            ledger.feeds.insert(device, FeedHead { n: row::number(found, 0)?, chain: row::hash(found, 1)? });
        }
    }
    let mut document = connection.prepare_cached(
        "SELECT collection, deleted_seq IS NOT NULL, operations, actors, epoch, epoch_seq, epoch_head, epoch_max_op
         FROM documents
         WHERE space_id = ?1 AND doc_id = ?2",
    )?;
    let mut epochs = BTreeMap::new();
    for &doc in &wanted.documents {
        let mut rows = document.query(params![id, doc.as_bytes()])?;
        if let Some(found) = rows.next()? {
            let (operations, actors) = (row::number(found, 2)?, row::number(found, 3)?);
            let epoch = row::number(found, 4)?;
            if epoch > 0 {
                epochs.insert(doc, (row::number(found, 5)?, row::hash(found, 6)?, row::number(found, 7)?));
            }
            let facts = DocumentFacts { collection: found.get(0)?, deleted: found.get(1)?, operations, actors, epoch };
            ledger.documents.insert(doc, facts);
        }
    }
    let mut tail =
        connection.prepare_cached("SELECT seq, hash FROM actors WHERE space_id = ?1 AND doc_id = ?2 AND actor = ?3")?;
    for &(doc, actor) in &wanted.actors {
        let mut rows = tail.query(params![id, doc.as_bytes(), actor.as_bytes()])?;
        if let Some(found) = rows.next()? {
            let tail = Tail { seq: row::number(found, 0)?, hash: row::hash(found, 1)? };
            ledger.tails.insert((doc, actor), tail);
        }
    }
    // An actor begins with its device's id, so those of a device lie side by side; and so do those of structures.
    let mut actors = connection.prepare_cached(
        "SELECT count(*) FROM actors WHERE space_id = ?1 AND doc_id = ?2 AND actor >= ?3 AND actor <= ?4",
    )?;
    let together: BTreeSet<_> = wanted.actors.iter().map(|(doc, actor)| (*doc, actor.counted_with())).collect();
    for (doc, (first, last)) in together {
        let mut rows = actors.query(params![id, doc.as_bytes(), first.as_bytes(), last.as_bytes()])?;
        if let Some(found) = rows.next()? {
            ledger.actors_together.insert((doc, first), row::number(found, 0)?);
        }
    }
    load_grafts(connection, &mut ledger, wanted)?;
    let mut wanted = std::borrow::Cow::Borrowed(wanted);
    if !ledger.grafts.is_empty() {
        wanted.to_mut().see_through(&ledger.grafts);
    }
    // Of the same change refused and applied, the applied one sorts first.
    let mut dependency = connection.prepare_cached(
        "SELECT verdict, max_op, seq FROM log WHERE space_id = ?1 AND doc_id = ?2 AND hash = ?3 AND kind = 2
         ORDER BY verdict LIMIT 1",
    )?;
    for &(doc, hash) in &wanted.dependencies {
        let epoch = epochs.get(&doc);
        if let Some((_, _, max_op)) = epoch.filter(|(_, head, _)| *head == hash) {
            ledger.dependencies.insert((doc, hash), Dependency::Applied { max_op: *max_op });
            continue;
        }
        let mut rows = dependency.query(params![id, doc.as_bytes(), hash.0])?;
        if let Some(found) = rows.next()? {
            let passed = row::number(found, 2)? <= epoch.map_or(0, |(seq, ..)| *seq);
            let known = match row::verdict(found, 0)? {
                _ if passed => Dependency::Passed,
                Verdict::Rejected(RejectCode::EpochPassed) => Dependency::Passed,
                Verdict::Applied => Dependency::Applied { max_op: row::number(found, 1)? },
                Verdict::Rejected(_) => Dependency::Refused,
            };
            ledger.dependencies.insert((doc, hash), known);
        }
    }
    for (&(doc, through, device), &active_since_ms) in &wanted.epochs {
        let parameters = params![id, doc.as_bytes(), through as i64, device.as_bytes(), active_since_ms.cast_signed()];
        let standing = connection.query_row(STANDING, parameters, |found| {
            Ok(EpochStanding { moved: found.get(0)?, behind: found.get(1)? })
        })?;
        ledger.standings.insert((doc, through, device), standing);
    }
    Ok(ledger)
}

/// What was excluded of documents, and what is behind changes that are to be.
fn load_grafts(connection: &Connection, ledger: &mut Ledger, wanted: &Wanted) -> Result<(), StoreError> {
    let space = ledger.space;
    for &doc in &wanted.documents {
        if let Some(bytes) = super::snapshots::grafts(connection, space, doc)? {
            ledger.grafts.insert(doc, Grafts::decode(&bytes).map_err(|_| row::corrupt("grafts"))?);
        }
    }
    let mut payloads = connection.prepare_cached(BEHIND)?;
    for &(doc, hash) in &wanted.exclusions {
        let rows = payloads.query_map(params![space.as_bytes(), doc.as_bytes(), hash.0], |found| found.get(0))?;
        ledger.behind.insert((doc, hash), rows.collect::<Result<_, _>>()?);
    }
    Ok(())
}

/// What changes of a document carry from one of them on.
const BEHIND: &str = "
    SELECT p.bytes FROM log l INDEXED BY log_by_hash JOIN payloads p ON p.space_id = l.space_id AND p.seq = l.seq
    WHERE l.space_id = ?1 AND l.doc_id = ?2 AND l.kind = 2 AND l.verdict = 0 AND +l.seq >= (
        SELECT min(e.seq) FROM log e WHERE e.space_id = ?1 AND e.doc_id = ?2 AND e.hash = ?3 AND e.kind = 2 AND e.verdict = 0)
    ORDER BY l.seq";

/// Whether a document has changes behind a place; and whether another device that was here lately has not read one of others'
/// up to it.
const STANDING: &str = "
    SELECT EXISTS (SELECT 1 FROM log l
                   WHERE l.space_id = ?1 AND l.seq > ?3 AND +l.doc_id = ?2 AND l.kind = 2 AND l.verdict = 0),
           EXISTS (SELECT 1 FROM readers r
                   WHERE r.space_id = ?1 AND r.device_id <> ?4 AND r.seen_ms >= ?5 AND r.seq < ?3 AND EXISTS (
                       SELECT 1 FROM log l
                       WHERE l.space_id = ?1 AND l.seq > r.seq AND l.seq <= ?3 AND +l.doc_id = ?2 AND l.kind = 2
                             AND l.verdict = 0 AND l.device_id <> r.device_id))";

/// Documents begin anew: what stood for the epoch before goes.
fn begin_epochs(connection: &Connection, ledger: &Ledger, decision: &Decision) -> Result<(), StoreError> {
    let id = ledger.space.as_bytes();
    for (doc, (seq, facts)) in &decision.epochs {
        let begun = ledger.documents.get(doc).ok_or_else(|| row::corrupt("decision on an epoch"))?;
        let (doc, collection) = (doc.as_bytes(), &begun.collection);
        for table in ["actors", "snapshots", "unfolded", "grafts"] {
            connection
                .execute(&format!("DELETE FROM {table} WHERE space_id = ?1 AND doc_id = ?2"), params![id, doc])?;
        }
        let (number, operations) = (facts.number as i64, facts.operations as i64);
        // Where a log is taken back or filled, its creation may be in the same group.
        connection.execute(
            "INSERT INTO documents (space_id, doc_id, collection, operations, actors, tail_changes, tail_bytes,
                                    epoch, epoch_seq, epoch_head, epoch_max_op, epoch_cleared)
             VALUES (?1, ?2, ?7, ?6, 1, 0, 0, ?3, ?4, ?5, ?6, 0)
             ON CONFLICT (space_id, doc_id) DO UPDATE SET
               epoch = ?3, epoch_seq = ?4, epoch_head = ?5, epoch_max_op = ?6, epoch_cleared = 0,
               tail_changes = 0, tail_bytes = 0",
            params![id, doc, number, *seq as i64, facts.head.0, operations, collection],
        )?;
    }
    Ok(())
}

fn load_space(connection: &Connection, space: SpaceId) -> Result<(Ledger, Standing), StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT head_seq, head_chain, documents_total, closed FROM spaces WHERE space_id = ?1")?;
    let mut rows = statement.query([space.as_bytes()])?;
    let found = rows.next()?.ok_or(StoreError::UnknownSpace)?;
    let standing = Standing::from_number(found.get(3)?)?;
    let head = Cursor { seq: row::number(found, 0)?, chain: row::hash(found, 1)? };
    Ok((Ledger::new(space, head, row::number(found, 2)?), standing))
}

fn write(connection: &Connection, ledger: &Ledger, decision: &Decision, received_ms: i64) -> Result<(), StoreError> {
    if decision.entries.is_empty() {
        return Ok(());
    }
    let id = ledger.space.as_bytes();
    write_entries(connection, ledger.space, &decision.entries, received_ms)?;
    begin_epochs(connection, ledger, decision)?;
    let mut feed = connection.prepare_cached(
        "INSERT INTO feeds (space_id, device_id, n, chain) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (space_id, device_id) DO UPDATE SET n = excluded.n, chain = excluded.chain",
    )?;
    for &device in &decision.feeds {
        let head = ledger.acked(device);
        feed.execute(params![id, device.as_bytes(), head.n as i64, head.chain.0])?;
    }
    let (deletions, added) = (decision.deletions(), snapshots::added(&decision.entries));
    let mut document = connection.prepare_cached(
        "INSERT INTO documents (space_id, doc_id, collection, deleted_seq, operations, actors, tail_changes, tail_bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (space_id, doc_id) DO UPDATE SET
           deleted_seq = coalesce(deleted_seq, excluded.deleted_seq),
           operations = excluded.operations, actors = excluded.actors,
           tail_changes = tail_changes + excluded.tail_changes, tail_bytes = tail_bytes + excluded.tail_bytes",
    )?;
    for doc in &decision.documents {
        let facts = ledger.documents.get(doc).ok_or_else(|| row::corrupt("decision on a document"))?;
        let (operations, actors) = (facts.operations as i64, facts.actors as i64);
        let deleted = deletions.get(doc).map(|&seq| seq as i64).filter(|_| !sync_core::mutation!("deletion-not-kept"));
        let tail = added.get(doc).copied().unwrap_or_default();
        let (changes, bytes) = (tail.changes as i64, tail.bytes as i64);
        let values = params![id, doc.as_bytes(), facts.collection, deleted, operations, actors, changes, bytes];
        document.execute(values)?;
    }
    let mut actor = connection.prepare_cached(
        "INSERT INTO actors (space_id, doc_id, actor, seq, hash) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (space_id, doc_id, actor) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
    )?;
    for key in &decision.actors {
        let tail = ledger.tails.get(key).ok_or_else(|| row::corrupt("decision on an actor"))?;
        if sync_core::mutation!("actor-not-moved-on") && tail.seq.is_multiple_of(3) {
            continue;
        }
        actor.execute(params![id, key.0.as_bytes(), key.1.as_bytes(), tail.seq as i64, tail.hash.0])?;
    }
    let mut grafts = connection.prepare_cached(
        "INSERT INTO grafts (space_id, doc_id, bytes) VALUES (?1, ?2, ?3)
         ON CONFLICT (space_id, doc_id) DO UPDATE SET bytes = excluded.bytes",
    )?;
    for doc in &decision.grafts {
        let made = ledger.grafts.get(doc).ok_or_else(|| row::corrupt("decision on an exclusion"))?;
        grafts.execute(params![id, doc.as_bytes(), made.encode()])?;
    }
    let mut space = connection
        .prepare_cached("UPDATE spaces SET head_seq = ?2, head_chain = ?3, documents_total = ?4 WHERE space_id = ?1")?;
    space.execute(params![id, ledger.head.seq as i64, ledger.head.chain.0, ledger.documents_total as i64])?;
    Ok(())
}

fn write_entries(
    connection: &Connection,
    space: SpaceId,
    entries: &[NewEntry],
    received_ms: i64,
) -> Result<(), StoreError> {
    let mut log = connection.prepare_cached(
        "INSERT INTO log (space_id, seq, device_id, n, kind, doc_id, hash, verdict, chain,
                          actor, actor_seq, start_op, max_op, deps, received_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    let mut payload = connection.prepare_cached("INSERT INTO payloads (space_id, seq, bytes) VALUES (?1, ?2, ?3)")?;
    for entry in entries {
        let header = &entry.header;
        let seq = entry.at.seq as i64;
        let change = entry.change.as_ref();
        log.execute(params![
            space.as_bytes(),
            seq,
            header.id.device.as_bytes(),
            header.id.n as i64,
            header.kind.number(),
            header.doc.as_bytes(),
            header.hash.0,
            header.verdict.number(),
            entry.at.chain.0,
            change.map(|facts| facts.actor.as_bytes()),
            change.map(|facts| facts.seq as i64),
            change.map(|facts| facts.start_op as i64),
            change.map(|facts| facts.max_op() as i64),
            change.map(|facts| facts.deps.iter().flat_map(|dep| dep.0).collect::<Vec<u8>>()),
            received_ms,
        ])?;
        if sync_core::mutation!("payload-not-kept") && seq % 8 == 7 {
            continue;
        }
        if let Some(bytes) = &entry.payload {
            payload.execute(params![space.as_bytes(), seq, bytes])?;
        }
    }
    Ok(())
}

/// The results of what the log holds already.
fn known(connection: &Connection, space: SpaceId, stretch: &Stretch) -> Result<Vec<ItemResult>, StoreError> {
    let (after, through) = (stretch.after as i64, stretch.through as i64);
    let mut statement = connection.prepare_cached(
        "SELECT seq, verdict FROM log WHERE space_id = ?1 AND device_id = ?2 AND n > ?3 AND n <= ?4
         AND kind <> 4 ORDER BY n",
    )?;
    let mut rows = statement.query(params![space.as_bytes(), stretch.device.as_bytes(), after, through])?;
    let mut known = Vec::new();
    while let Some(found) = rows.next()? {
        known.push(answer::duplicate(row::number(found, 0)?, row::verdict(found, 1)?));
    }
    if known.len() as u64 != stretch.through - stretch.after {
        return Err(row::corrupt("log of an acknowledged feed"));
    }
    Ok(known)
}
