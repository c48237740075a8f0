//! What a seed says that is to happen, and how less of it is tried.

use std::collections::BTreeSet;

use super::rng::Rng;

/// What may go wrong, or happen, in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A document is made.
    Create,
    /// An edit.
    Edit,
    /// Several edits, one after the other, of several documents.
    Burst,
    /// An edit of one document that speaks of what another one shows.
    Refer,
    /// A document is deleted.
    Delete,
    /// The app wants an exchange.
    SyncNow,
    /// The app goes to the background, or comes back.
    Foreground,
    /// A phone's network goes or comes, in one direction or both.
    Partition,
    /// A phone dies, and is started again.
    PhoneCrash,
    /// A phone's power fails behind some commits.
    PhonePower,
    /// A phone's disk is full for a while.
    DiskFull,
    /// A phone's clock jumps by years.
    PhoneClock,
    /// A phone's store is copied aside.
    PhoneBackup,
    /// A phone gets back what was copied.
    PhoneRestore,
    /// A phone's store is copied to another phone.
    Clone,
    /// A phone is gone for good.
    PhoneGone,
    /// The server dies, and is started again.
    ServerCrash,
    /// The server's power fails behind some commits.
    ServerPower,
    /// The server's database is copied aside.
    ServerBackup,
    /// The server's database is what was copied.
    ServerRestore,
    /// The server's clock jumps.
    ServerClock,
    /// The server folds and drops.
    Compact,
    /// The same, and the power fails within.
    CompactPower,
    /// The server excludes a change, as if it had been found to break its document.
    Exclude,
    /// A user's role changes.
    Role,
    /// A phone's token runs out.
    TokenExpires,
    /// A member lies, and noise comes.
    Attack,
    /// A phone does not read its live connection for a while.
    SlowReader,
    /// A phone looks whether causes come before effects.
    Look,
}

/// Each with its weight; the first are what apps do all day.
const WEIGHTS: &[(Kind, u64)] = &[
    (Kind::Create, 40),
    (Kind::Edit, 200),
    (Kind::Burst, 80),
    (Kind::Refer, 50),
    (Kind::Delete, 6),
    (Kind::SyncNow, 80),
    (Kind::Foreground, 10),
    (Kind::Partition, 30),
    (Kind::PhoneCrash, 20),
    (Kind::PhonePower, 25),
    (Kind::DiskFull, 12),
    (Kind::PhoneClock, 6),
    (Kind::PhoneBackup, 12),
    (Kind::PhoneRestore, 8),
    (Kind::Clone, 4),
    (Kind::PhoneGone, 3),
    (Kind::ServerCrash, 12),
    (Kind::ServerPower, 25),
    (Kind::ServerBackup, 12),
    (Kind::ServerRestore, 6),
    (Kind::ServerClock, 4),
    (Kind::Compact, 25),
    (Kind::CompactPower, 8),
    (Kind::Role, 10),
    (Kind::TokenExpires, 6),
    (Kind::Attack, 8),
    (Kind::SlowReader, 10),
    (Kind::Look, 30),
];

/// What goes together, and shows more where it happens more often.
const THEMES: &[&[Kind]] = &[
    &[],
    &[Kind::ServerBackup, Kind::ServerRestore, Kind::PhoneGone, Kind::SyncNow],
    &[Kind::PhoneBackup, Kind::PhoneRestore, Kind::Clone, Kind::SyncNow],
    &[Kind::Compact, Kind::CompactPower, Kind::PhoneRestore, Kind::PhoneBackup],
    &[Kind::Role, Kind::Delete, Kind::Partition],
    &[Kind::PhonePower, Kind::ServerPower, Kind::DiskFull],
    &[Kind::Create, Kind::SlowReader, Kind::Partition],
];
/// How often changes are excluded, in worlds in which they are: those are so many of a thousand.
const EXCLUDE_WEIGHT: u64 = 80;
const WORLDS_WITH_EXCLUSIONS: u64 = 200;
/// So much more often.
const THEME_FACTOR: u64 = 5;

/// What happens with frames on their way.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// The shortest way takes so long, …
    pub fastest_ms: u64,
    /// … and an ordinary one at most so much longer.
    pub spread_ms: u64,
    /// So many of a thousand are lost, …
    pub lost: u64,
    /// … come twice, …
    pub doubled: u64,
    /// … or come very late.
    pub late: u64,
}

/// A seed, and what of it is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// From which everything follows.
    pub seed: u64,
    /// Steps that do nothing.
    pub skip: BTreeSet<u64>,
}

impl Case {
    /// A seed, whole.
    pub fn of(seed: u64) -> Self {
        Self { seed, skip: BTreeSet::new() }
    }

    /// As [`fmt::Display`](std::fmt::Display) writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let mut case = Self::of(words.next()?.parse().ok()?);
        for word in words {
            for part in word.strip_prefix("skip=")?.split(',') {
                match part.split_once('-') {
                    Some((first, last)) => case.skip.extend(first.parse::<u64>().ok()?..=last.parse().ok()?),
                    None => {
                        case.skip.insert(part.parse().ok()?);
                    }
                }
            }
        }
        Some(case)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.seed)?;
        let mut rest = self.skip.iter().copied().peekable();
        let mut between = " skip=";
        while let Some(first) = rest.next() {
            let mut last = first;
            while rest.next_if(|next| *next == last + 1).is_some() {
                last += 1;
            }
            if first == last {
                write!(f, "{between}{first}")?;
            } else {
                write!(f, "{between}{first}-{last}")?;
            }
            between = ",";
        }
        Ok(())
    }
}

/// What a seed says of the whole.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Phones at the beginning.
    pub phones: u64,
    /// Users that they belong to.
    pub users: u64,
    /// Steps.
    pub steps: u64,
    /// The time between two steps is up to this.
    pub pause_ms: u64,
    /// The network.
    pub weather: Weather,
    /// What may happen.
    kinds: Vec<(Kind, u64)>,
    /// From how many changes on a document is folded.
    pub tail_changes_max: u64,
    /// Whether payloads go as soon as a snapshot covers them, whoever has not read them.
    pub drops_at_once: bool,
    /// Whether stores leave a mark in a file that backups leave out.
    pub markers: bool,
    /// Whether phones keep live connections open, or ask now and then.
    pub live: bool,
}

impl Plan {
    /// What that seed says.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::of(seed, 1);
        let calm = rng.chance(300);
        let weather = Weather {
            fastest_ms: rng.within(5, 80),
            spread_ms: rng.within(0, 200),
            lost: if calm { 0 } else { rng.below(150) },
            doubled: if calm { 0 } else { rng.below(150) },
            late: if calm { 0 } else { rng.below(80) },
        };
        // A seed in which everything may happen shows less of each: most have some kinds of fault.
        let some = rng.within(150, 1000);
        let apps = WEIGHTS.iter().take_while(|(kind, _)| *kind != Kind::Delete).count();
        let theme = rng.pick(THEMES).copied().unwrap_or_default();
        let kinds = WEIGHTS.iter().enumerate().filter_map(|(at, (kind, weight))| {
            if theme.contains(kind) {
                return Some((*kind, weight * THEME_FACTOR));
            }
            (at < apps || rng.chance(some)).then_some((*kind, *weight))
        });
        let mut kinds: Vec<(Kind, u64)> = kinds.collect();
        // Of its own, so that all else is the same in the other worlds as before there were any.
        if Rng::of(seed, 7).chance(WORLDS_WITH_EXCLUSIONS) {
            kinds.push((Kind::Exclude, EXCLUDE_WEIGHT));
        }
        let phones = rng.within(2, 4);
        Self {
            phones,
            users: rng.within(1, 2),
            steps: rng.within(10, 60),
            pause_ms: [200, 2_000, 20_000][rng.below(3) as usize],
            weather,
            kinds,
            tail_changes_max: rng.within(1, 12),
            drops_at_once: rng.chance(500),
            markers: rng.chance(500),
            live: rng.chance(500),
        }
    }

    /// Whether much of that happens.
    pub fn is_about(&self, kind: Kind) -> bool {
        let common = WEIGHTS.iter().find(|(of, _)| *of == kind).map_or(0, |(_, weight)| *weight);
        self.kinds.iter().any(|(of, weight)| *of == kind && *weight > common)
    }

    /// Whether all of that may happen.
    pub fn has(&self, wanted: &[Kind]) -> bool {
        wanted.iter().all(|wanted| self.kinds.iter().any(|(kind, _)| kind == wanted))
    }

    /// What happens in a step.
    pub fn kind(&self, rng: &mut Rng) -> Kind {
        let mut at = rng.below(self.kinds.iter().map(|(_, weight)| weight).sum());
        for (kind, weight) in &self.kinds {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return *kind,
            }
        }
        Kind::Edit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_read_as_it_is_written() {
        for skip in [vec![], vec![3], vec![1, 2, 3, 7, 9, 10]] {
            let case = Case { seed: 77, skip: skip.into_iter().collect() };
            assert_eq!(Case::parse(&case.to_string()), Some(case));
        }
    }
}
