//! The audit log, and what flags need to know.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::super::StoreError;
use super::super::audit::{Audit, AuditFilter, AuditId, AuditRow, LastSeen, PAGE_ROWS_MAX, may_purge};
use super::{SqliteStore, row};

#[async_trait]
impl Audit for SqliteStore {
    async fn append_audit(&self, rows: Vec<AuditRow>) -> Result<(), StoreError> {
        self.write(move |connection| append(connection, &rows)).await
    }

    async fn read_audit(&self, filter: AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
        self.read(move |connection| read(connection, &filter)).await
    }

    async fn purge_audit(&self, before_ms: u64, now_ms: u64, rows_max: u32) -> Result<u64, StoreError> {
        may_purge(before_ms, now_ms)?;
        self.write(move |connection| {
            let purge = "DELETE FROM audit WHERE rowid IN
                         (SELECT rowid FROM audit WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)";
            Ok(connection.prepare_cached(purge)?.execute(params![before_ms, rows_max])? as u64)
        })
        .await
    }

    async fn see(&self, user: &str, country: &str, at_ms: u64) -> Result<Option<LastSeen>, StoreError> {
        let (user, country) = (user.to_owned(), country.to_owned());
        self.write(move |connection| see(connection, &user, &country, at_ms)).await
    }

    async fn claim_flag(&self, user: &str, kind: &str, at_ms: u64, apart: Duration) -> Result<bool, StoreError> {
        let (user, kind) = (user.to_owned(), kind.to_owned());
        let before_ms = at_ms.saturating_sub(apart.as_millis() as u64);
        self.write(move |connection| {
            let claim = "INSERT INTO flagged (user_id, kind, at_ms) VALUES (?1, ?2, ?3)
                         ON CONFLICT (user_id, kind) DO UPDATE SET at_ms = excluded.at_ms WHERE flagged.at_ms <= ?4";
            Ok(connection.prepare_cached(claim)?.execute(params![user, kind, at_ms, before_ms])? == 1)
        })
        .await
    }
}

fn append(connection: &mut Connection, rows: &[AuditRow]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let insert = "INSERT INTO audit
                      (user_id, at_ms, id, kind, device_id, space_id, address, request_id, detail)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let mut insert = transaction.prepare_cached(insert)?;
        for row in rows {
            let AuditRow { user, at_ms, id, kind, address, request_id, detail, .. } = row;
            let device = row.device.as_ref().map(|device| device.as_bytes().as_slice());
            let space = row.space.as_ref().map(|space| space.as_bytes().as_slice());
            insert.execute(params![user, at_ms, id.0, kind, device, space, address, request_id, detail])?;
        }
    }
    Ok(transaction.commit()?)
}

fn read(connection: &Connection, filter: &AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
    let select = "SELECT user_id, at_ms, id, kind, device_id, space_id, address, request_id, detail FROM audit
                  WHERE (?1 IS NULL OR user_id = ?1) AND (?2 IS NULL OR kind = ?2)
                    AND (?3 IS NULL OR substr(kind, 1, length(?3)) = ?3) AND (?4 IS NULL OR space_id = ?4)
                    AND at_ms >= ?5 AND at_ms < ?6 AND (at_ms, id) < (?7, ?8)
                  ORDER BY at_ms DESC, id DESC LIMIT ?9";
    let (kind, start) = filter.kinds();
    let space = filter.space.as_ref().map(|space| space.as_bytes().as_slice());
    let (since, until) = (filter.since_ms.unwrap_or(0), filter.until_ms.map_or(i64::MAX, |until| until as i64));
    // Behind every row there can be.
    let (after, after_id) = filter.after.map_or((i64::MAX, AuditId([255; 16])), |at| (at.at_ms as i64, at.id));
    let limit = filter.limit.min(PAGE_ROWS_MAX);
    let values = params![filter.user, kind, start, space, since, until, after, after_id.0, limit];
    let mut select = connection.prepare_cached(select)?;
    let mut found = select.query(values)?;
    let mut rows = Vec::new();
    while let Some(found) = found.next()? {
        rows.push(read_row(found)?);
    }
    Ok(rows)
}

fn read_row(found: &Row<'_>) -> Result<AuditRow, StoreError> {
    let is_null = |at| Ok::<_, StoreError>(found.get_ref(at)? == rusqlite::types::ValueRef::Null);
    Ok(AuditRow {
        user: found.get(0)?,
        at_ms: row::number(found, 1)?,
        id: AuditId(found.get(2)?),
        kind: found.get(3)?,
        device: if is_null(4)? { None } else { Some(row::device(found, 4)?) },
        space: if is_null(5)? { None } else { Some(row::space(found, 5)?) },
        address: found.get(6)?,
        request_id: found.get(7)?,
        detail: found.get(8)?,
    })
}

fn see(connection: &mut Connection, user: &str, country: &str, at_ms: u64) -> Result<Option<LastSeen>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = transaction
        .prepare_cached("SELECT country, at_ms FROM last_seen WHERE user_id = ?1")?
        .query_row([user], |found| Ok(LastSeen { country: found.get(0)?, at_ms: found.get(1)? }))
        .optional()?;
    // A node whose clock is behind, or that was slow, tells nothing new.
    let update = "INSERT INTO last_seen (user_id, country, at_ms) VALUES (?1, ?2, ?3)
                  ON CONFLICT (user_id) DO UPDATE SET country = excluded.country, at_ms = excluded.at_ms
                  WHERE last_seen.at_ms <= excluded.at_ms";
    transaction.prepare_cached(update)?.execute(params![user, country, at_ms])?;
    transaction.commit()?;
    Ok(before)
}
