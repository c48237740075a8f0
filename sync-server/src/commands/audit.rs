//! `sync-server audit`: what was done, as a table for people or lines for programs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use sync_core::id::SpaceId;
use sync_server::auth::keys::Keys;
use sync_server::store::audit::{AuditFilter, AuditPlace, AuditRow, PAGE_ROWS_MAX};
use sync_server::{Clock, Storage};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::place::Place;
use super::{Done, duration, print};

/// What is shown without `--since`.
const SINCE: Duration = Duration::from_hours(24);
/// Rows that are purged in one go, so that it holds nobody up.
const PURGE_ROWS: u32 = 1_000;

#[derive(Args)]
pub struct Audit {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Args)]
struct Wanted {
    /// Of this user alone
    #[arg(long)]
    user: Option<String>,
    /// Of this kind alone, such as signin.failed, or of all that begin so: `device.*`
    #[arg(long, value_parser = kind)]
    kind: Option<String>,
    /// What was flagged for people to look at: the same as --kind 'flag.*'
    #[arg(long, conflicts_with = "kind")]
    flags: bool,
    /// In or about this space alone (a UUID)
    #[arg(long, value_name = "UUID")]
    space: Option<SpaceId>,
    /// Since then: so long ago (30m, 24h, 7d), or a moment as in 2026-10-08T12:00:00Z [default: 24h]
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Moment>,
    /// And until then
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Moment>,
    /// The newest so many
    #[arg(long, default_value_t = 200)]
    limit: usize,
    /// A line of JSON each, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Drop what is older than that
    ///
    /// The server does so by itself, by audit.keep_days. This is for where its database role may not: give this command the URL
    /// of one that may. Nothing of the last year goes.
    Purge {
        #[command(flatten)]
        place: Place,
        /// How old: a number of days, such as 400d
        #[arg(long, value_parser = duration, value_name = "TIME")]
        older_than: Duration,
    },
}

/// A kind that there is, or what some begin with: a kind that was mistyped would show nothing, as if nothing had happened.
fn kind(text: &str) -> Result<String, String> {
    let fits = |kind: &str| text.strip_suffix('*').map_or(kind == text, |start| kind.starts_with(start));
    if sync_server::audit_kinds().any(fits) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "must be one of these, or what some of them begin with and `*`: {}",
        sync_server::audit_kinds().collect::<Vec<_>>().join(", ")
    ))
}

/// A moment, or so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Ago(Duration),
    At(u64),
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(ago) = duration(text) {
        return Ok(Moment::Ago(ago));
    }
    let wrong = || "must be so long ago, such as 24h, or a moment such as 2026-10-08T12:00:00Z".to_owned();
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).map(Moment::At).map_err(|_| wrong())
}

impl Moment {
    fn ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Ago(ago) => now_ms.saturating_sub(ago.as_millis() as u64),
            Self::At(at) => at,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub async fn audit(arguments: Audit) -> Done {
    match arguments.command {
        Some(Command::Purge { place, older_than }) => purge(&place, older_than).await,
        None => show(&arguments.place, arguments.wanted).await,
    }
}

async fn open(place: &Place) -> Result<Storage, Box<dyn std::error::Error>> {
    let config = place.config()?;
    Ok(sync_server::open_storage(&config, &Keys::open(config.keys_folder())?).await?)
}

async fn show(place: &Place, wanted: Wanted) -> Done {
    let Storage { store, registry, .. } = open(place).await?;
    let now_ms = Clock::default().now_ms();
    let since = wanted.since.unwrap_or(Moment::Ago(SINCE));
    let mut filter = AuditFilter {
        user: wanted.user,
        kind: if wanted.flags { Some("flag.*".to_owned()) } else { wanted.kind },
        space: wanted.space,
        since_ms: Some(since.ms(now_ms)),
        until_ms: wanted.until.map(|until| until.ms(now_ms)),
        after: None,
        limit: 0,
    };
    let mut left = wanted.limit;
    let mut out = std::io::stdout().lock();
    let mut head = !wanted.json;
    while left > 0 {
        filter.limit = u32::try_from(left).unwrap_or(PAGE_ROWS_MAX).min(PAGE_ROWS_MAX);
        let rows = registry.read_audit(filter.clone()).await?;
        let Some(last) = rows.last() else { break };
        filter.after = Some(AuditPlace { at_ms: last.at_ms, id: last.id });
        left -= rows.len();
        let is_last = rows.len() < filter.limit as usize;
        let text = if wanted.json { lines(&rows) } else { table(&rows, head) };
        out.write_all(text.as_bytes())?;
        head = false;
        if is_last {
            break;
        }
    }
    out.flush()?;
    Ok(store.close().await?)
}

async fn purge(place: &Place, older_than: Duration) -> Done {
    let Storage { store, registry, .. } = open(place).await?;
    let now_ms = Clock::default().now_ms();
    let before_ms = now_ms.saturating_sub(older_than.as_millis() as u64);
    let mut purged = 0;
    loop {
        let some = registry.purge_audit(before_ms, now_ms, PURGE_ROWS).await?;
        purged += some;
        if some < u64::from(PURGE_ROWS) {
            break;
        }
    }
    store.close().await?;
    print(&format!("{purged} events from before {} were dropped\n", stamp(before_ms)))
}

fn stamp(at_ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| at_ms.to_string())
}

fn lines(rows: &[AuditRow]) -> String {
    let mut text = String::new();
    for row in rows {
        let AuditRow { user, id, kind, device, space, address, request_id, detail, at_ms } = row;
        let line = serde_json::json!({
            "at": stamp(*at_ms),
            "audit_id": format!("{:032x}", u128::from_be_bytes(id.0)),
            "audit": kind,
            "user": user,
            "device": device.map(|device| device.to_string()),
            "space": space.map(|space| space.to_string()),
            "address": address,
            "request_id": request_id,
            "detail": detail,
        });
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

/// Columns wide enough for what they hold as a rule; what is longer moves the rest of its line.
fn table(rows: &[AuditRow], head: bool) -> String {
    let mut text = String::new();
    let mut put = |columns: [&str; 6]| {
        let [at, kind, user, address, about, detail] = columns;
        let line = format!("{at:<24} {kind:<24} {user:<24} {address:<16} {about:<43} {detail}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    if head {
        put(["WHEN", "WHAT", "USER", "ADDRESS", "DEVICE OR SPACE", "DETAIL"]);
    }
    for row in rows {
        let device = row.device.map(|device| format!("device {device}"));
        let space = row.space.map(|space| format!("space {space}"));
        let about = [device, space].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let visible = |text: &str| text.replace(char::is_control, " ");
        let (address, detail) = (row.address.as_deref().unwrap_or("-"), row.detail.as_deref().unwrap_or(""));
        put([&stamp(row.at_ms), &row.kind, &visible(&row.user), address, &about, &visible(detail)]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_so_long_ago_or_a_time() {
        assert_eq!(moment("24h"), Ok(Moment::Ago(Duration::from_hours(24))));
        assert_eq!(moment("2026-10-08T12:00:00Z"), Ok(Moment::At(1_791_460_800_000)));
        assert_eq!(moment("2026-10-08T14:00:00.5+02:00"), Ok(Moment::At(1_791_460_800_500)));
        for wrong in ["", "yesterday", "2026-10-08", "1969-12-31T00:00:00Z", "0h", "-1h"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Moment::Ago(Duration::from_secs(2)).ms(5_000), 3_000);
        assert_eq!(stamp(1_791_460_800_000), "2026-10-08T12:00:00Z");
    }

    #[test]
    fn kinds_are_those_that_there_are() {
        for fine in ["signin.failed", "signin.*", "s*", "*", "session.refresh_theft"] {
            assert_eq!(kind(fine).as_deref(), Ok(fine));
        }
        for wrong in ["", "signin", "refresh.*", "signin.*.*", "SIGNIN.*"] {
            assert!(kind(wrong).unwrap_err().contains("session.refresh_theft"), "{wrong}");
        }
    }

    #[test]
    fn a_table_is_for_people_and_no_terminal_is_told_what_to_do() {
        let row = AuditRow {
            user: "ann\u{1b}[2J\n".to_owned(),
            at_ms: 1_791_460_800_000,
            id: sync_server::store::audit::AuditId([7; 16]),
            kind: "signin.done".to_owned(),
            device: None,
            space: None,
            address: Some("203.0.113.9".to_owned()),
            request_id: None,
            detail: Some("by password".to_owned()),
        };
        let text = table(std::slice::from_ref(&row), true);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("203.0.113.9") && text.contains("by password") && !text.contains('\u{1b}'), "{text}");
        let line: serde_json::Value = serde_json::from_str(&lines(&[row])).unwrap();
        assert_eq!((&line["audit"], &line["audit_id"]), (&"signin.done".into(), &"07".repeat(16).into()));
    }
}
