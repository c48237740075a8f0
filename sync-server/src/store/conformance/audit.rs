//! The audit log: what was added is read as it was, newest first, page by page, and nothing young is dropped.

use std::time::Duration;

use sync_core::id::{DeviceId, SpaceId};

use super::super::StoreError;
use super::super::audit::{Audit, AuditFilter, AuditId, AuditPlace, AuditRow, KEPT_MIN, LastSeen};
use super::author::{new_space, new_user, random};

const HOUR: Duration = Duration::from_hours(1);
/// Some day in 2026, to the millisecond.
const NOW_MS: u64 = 1_790_000_000_123;

fn row(user: &str, at_ms: u64, kind: &str) -> AuditRow {
    AuditRow {
        user: user.to_owned(),
        at_ms,
        id: AuditId(random()),
        kind: kind.to_owned(),
        device: Some(DeviceId::from_random(random())),
        space: None,
        address: Some("203.0.113.9".to_owned()),
        request_id: Some("0123456789abcdef-7".to_owned()),
        detail: None,
    }
}

fn of(user: &str) -> AuditFilter {
    AuditFilter { user: Some(user.to_owned()), limit: 100, ..AuditFilter::default() }
}

async fn read(audit_log: &dyn Audit, filter: AuditFilter) -> Vec<AuditRow> {
    audit_log.read_audit(filter).await.expect("rows")
}

async fn append(audit_log: &dyn Audit, rows: &[AuditRow]) {
    audit_log.append_audit(rows.to_vec()).await.expect("rows that are kept");
}

/// Adding and reading, with every filter.
pub async fn audit(audit_log: &dyn Audit) {
    let (ann, ben, space) = (new_user(), new_user(), new_space());
    let joined = AuditRow {
        space: Some(space),
        device: None,
        address: None,
        request_id: None,
        detail: Some("as a writer, by \u{1f98a}".to_owned()),
        ..row(&ann, NOW_MS + 2, "member.joined")
    };
    let rows = [
        row(&ann, NOW_MS, "signin.done"),
        row(&ann, NOW_MS + 1, "flag.burst"),
        joined.clone(),
        row(&ann, NOW_MS + 3, "flag.reaching"),
    ];
    let bens = [row(&ben, NOW_MS + 1, "signin.done")];
    append(audit_log, &[&rows[..], &bens[..]].concat()).await;
    append(audit_log, &[]).await;

    let newest_first: Vec<AuditRow> = rows.iter().rev().cloned().collect();
    assert_eq!(read(audit_log, of(&ann)).await, newest_first);
    assert_eq!(read(audit_log, of(&ben)).await, bens);
    assert_eq!(read(audit_log, of(&new_user())).await, []);

    // What is added again is as it was, and once.
    let forged = AuditRow { detail: Some("otherwise".to_owned()), ..joined.clone() };
    append(audit_log, &[forged]).await;
    assert_eq!(read(audit_log, of(&ann)).await, newest_first);

    let kind = |kind: &str| AuditFilter { kind: Some(kind.to_owned()), ..of(&ann) };
    assert_eq!(read(audit_log, kind("member.joined")).await, std::slice::from_ref(&joined));
    assert_eq!(read(audit_log, kind("flag.*")).await, [rows[3].clone(), rows[1].clone()]);
    assert_eq!(read(audit_log, kind("flag")).await, []);
    assert_eq!(read(audit_log, kind("f%*")).await, [], "no pattern of the database's");
    assert_eq!(read(audit_log, kind("*")).await, newest_first);
    let in_space = |space: SpaceId| AuditFilter { space: Some(space), limit: 10, ..AuditFilter::default() };
    assert_eq!(read(audit_log, in_space(space)).await, std::slice::from_ref(&joined), "whosever it is");
    assert_eq!(read(audit_log, in_space(new_space())).await, []);
    let between = AuditFilter { since_ms: Some(NOW_MS + 1), until_ms: Some(NOW_MS + 3), ..of(&ann) };
    assert_eq!(read(audit_log, between).await, [joined, rows[1].clone()]);
    assert_eq!(read(audit_log, AuditFilter { limit: 0, ..of(&ann) }).await, []);
}

/// Pages hold every row once, also those of one moment.
pub async fn audit_pages(audit_log: &dyn Audit) {
    let user = new_user();
    let rows: Vec<AuditRow> = (0..23).map(|at| row(&user, NOW_MS + at / 5, "device.revoked")).collect();
    append(audit_log, &rows).await;
    let (mut read_rows, mut after) = (Vec::new(), None);
    loop {
        let page = read(audit_log, AuditFilter { limit: 4, after, ..of(&user) }).await;
        let Some(last) = page.last() else { break };
        after = Some(AuditPlace { at_ms: last.at_ms, id: last.id });
        assert!(page.len() <= 4);
        read_rows.extend(page);
    }
    let mut expected = rows;
    expected.sort_by_key(|row| std::cmp::Reverse((row.at_ms, row.id)));
    assert_eq!(read_rows, expected);
}

/// Nothing that is younger than a year is dropped, and of what is older no more than was said.
pub async fn audit_purge(audit_log: &dyn Audit) {
    let user = new_user();
    // Older than any other test's, so that those are not the first to go.
    let rows: Vec<AuditRow> = (1..=5).map(|at| row(&user, at, "log_out")).collect();
    let young = row(&user, NOW_MS, "log_out");
    append(audit_log, &[rows.clone(), vec![young.clone()]].concat()).await;
    let year = KEPT_MIN.as_millis() as u64;
    let early = audit_log.purge_audit(NOW_MS, NOW_MS + year - 1, 10).await;
    assert!(matches!(early, Err(StoreError::Fault(_))), "{early:?}");
    assert_eq!(read(audit_log, of(&user)).await.len(), 6);
    assert_eq!(audit_log.purge_audit(5, NOW_MS, 3).await.expect("a purge"), 3);
    assert_eq!(audit_log.purge_audit(5, NOW_MS, 3).await.expect("a purge"), 1);
    assert_eq!(audit_log.purge_audit(5, NOW_MS, 3).await.expect("a purge"), 0);
    assert_eq!(read(audit_log, of(&user)).await, [young, rows[4].clone()]);
}

/// Where somebody was before, and that nobody is flagged twice within the hour.
pub async fn flags(audit_log: &dyn Audit) {
    let user = new_user();
    let see = async |country: &str, at_ms| audit_log.see(&user, country, at_ms).await.expect("an answer");
    let was = |country: &str, at_ms| Some(LastSeen { country: country.to_owned(), at_ms });
    assert_eq!(see("DE", NOW_MS).await, None);
    assert_eq!(see("FR", NOW_MS + 10).await, was("DE", NOW_MS));
    assert_eq!(see("DE", NOW_MS + 5).await, was("FR", NOW_MS + 10));
    assert_eq!(see("FR", NOW_MS + 20).await, was("FR", NOW_MS + 10), "an earlier moment changes nothing");

    let hour = HOUR.as_millis() as u64;
    let claim = async |kind: &str, at_ms| audit_log.claim_flag(&user, kind, at_ms, HOUR).await.expect("an answer");
    assert!(claim("flag.burst", NOW_MS).await);
    assert!(!claim("flag.burst", NOW_MS).await);
    assert!(!claim("flag.burst", NOW_MS + hour - 1).await);
    assert!(claim("flag.reaching", NOW_MS).await, "of each kind");
    assert!(claim("flag.burst", NOW_MS + hour).await);
    assert!(!claim("flag.burst", NOW_MS + hour + 1).await);
}
