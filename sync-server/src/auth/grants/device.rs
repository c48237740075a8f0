//! The device authorization flow: a companion without a keyboard shows a code, somebody who is signed in elsewhere approves it
//! (RFC 8628).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sync_core::id::Hash;
use sync_core::wire::ErrorCode;

use super::random;
use crate::app::App;
use crate::audit::{self, Event, Kind};
use crate::auth::accounts::attempts;
use crate::error::ApiError;
use crate::router::observe::Note;
use crate::store::grants::{Grant, GrantKind, GrantRecord, GrantState};

/// How long somebody may take to find a browser and a password.
pub(crate) const EXPIRES_S: u64 = 600;
/// How often a companion may ask, to begin with.
pub(crate) const INTERVAL_S: u32 = 5;
/// What asking too often adds (RFC 8628, section 3.5).
const SLOWER_S: u32 = 5;
/// A question that left in time may arrive a little early after the one before it.
const EARLY_MS: u64 = 500;
/// No vowels, so that no code is a word; 20⁸ codes are 2.56·10¹⁰ (RFC 8628, section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LETTERS_OF_CODE: usize = 8;
/// Bytes that are a whole number of alphabets, so that all letters are as likely.
const FAIR_BYTES: u8 = 240;
/// Codes in use are so few of those there are that a second one in a row is a fault.
const CODES_TRIED_MAX: u32 = 8;
/// Others that change the same grant are at most who approves, and the companion, which asks now and then.
const TRIES_MAX: u32 = 8;

/// What a companion is told when it asks to be let in.
pub(crate) struct Begun {
    /// What it redeems.
    pub(crate) device_code: String,
    /// What it shows.
    pub(crate) user_code: String,
}

/// A companion that waits for somebody's word.
pub(crate) struct Waiting {
    /// What people call it.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) user_code: String,
    id: Hash,
    record: GrantRecord,
}

/// As it is shown.
fn spell(letters: &[u8]) -> String {
    let mut text: String = letters.iter().map(|byte| char::from(*byte)).collect();
    text.insert(LETTERS_OF_CODE / 2, '-');
    text
}

/// From what somebody typed: dashes, spaces and the letters' case do not matter.
fn read(typed: &str) -> Option<String> {
    let mut letters = Vec::with_capacity(LETTERS_OF_CODE);
    // Longer texts are none.
    for byte in typed.bytes().take(4 * LETTERS_OF_CODE) {
        match byte.to_ascii_uppercase() {
            b'-' | b' ' => {}
            letter if LETTERS.contains(&letter) && letters.len() < LETTERS_OF_CODE => letters.push(letter),
            _ => return None,
        }
    }
    (letters.len() == LETTERS_OF_CODE && typed.len() <= 4 * LETTERS_OF_CODE).then(|| spell(&letters))
}

/// What a code is kept under.
fn id_of(user_code: &str) -> Hash {
    Hash::of(&[b"rejoin user code\0", user_code.as_bytes()])
}

fn new_code() -> Result<String, ApiError> {
    let mut letters = Vec::with_capacity(LETTERS_OF_CODE);
    while letters.len() < LETTERS_OF_CODE {
        let fair = random::<16>()?.into_iter().filter(|byte| *byte < FAIR_BYTES);
        letters
            .extend(fair.map(|byte| LETTERS[usize::from(byte) % LETTERS.len()]).take(LETTERS_OF_CODE - letters.len()));
    }
    Ok(spell(&letters))
}

/// Begins to wait for somebody's word. What the companion redeems names the code's row and adds a secret, so that seeing the
/// code on its screen is not enough.
pub(crate) async fn begin(app: &App, client: &str) -> Result<Begun, ApiError> {
    let client = app.clients.find(client)?;
    let secret = random::<32>()?;
    let now_ms = app.clock.now_ms();
    let grant = Grant {
        kind: GrantKind::Device { secret: Hash::of(&[&secret]), interval_s: INTERVAL_S, asked_ms: 0 },
        state: GrantState::Asked,
        client: client.id.clone(),
        user: None,
        display_name: None,
        device: None,
        expires_ms: now_ms.saturating_add(EXPIRES_S * 1_000),
    };
    for _ in 0..CODES_TRIED_MAX {
        let user_code = new_code()?;
        let id = id_of(&user_code);
        if app.registry.add_grant(id, &grant, now_ms).await? {
            let device_code = URL_SAFE_NO_PAD.encode([id.0, secret].concat());
            return Ok(Begun { device_code, user_code });
        }
    }
    Err(ApiError::busy())
}

/// What a companion redeems: the row, and its secret.
pub(super) fn parse(device_code: &str) -> Option<(Hash, [u8; 32])> {
    let bytes: [u8; 64] = URL_SAFE_NO_PAD.decode(device_code).ok()?.try_into().ok()?;
    let (id, secret) = bytes.split_at(32);
    Some((Hash::from_slice(id).ok()?, secret.try_into().ok()?))
}

/// The companion that shows that code, if it still waits.
pub(crate) async fn waiting(app: &App, typed: &str) -> Result<Option<Waiting>, ApiError> {
    let Some(user_code) = read(typed) else { return Ok(None) };
    let id = id_of(&user_code);
    let now_ms = app.clock.now_ms();
    let record = app.registry.grant(id).await?.filter(|record| {
        record.grant.state == GrantState::Asked
            && now_ms < record.grant.expires_ms
            && matches!(record.grant.kind, GrantKind::Device { .. })
    });
    let Some(record) = record else { return Ok(None) };
    // An app that was taken out of the configuration meanwhile asks for nothing.
    let Ok(client) = app.clients.find(&record.grant.client) else { return Ok(None) };
    Ok(Some(Waiting { name: client.name.clone(), user_code, id, record }))
}

/// Somebody who says yes or no.
pub(crate) struct Word<'a> {
    pub(crate) user: &'a str,
    pub(crate) display_name: Option<&'a str>,
    /// The device on which it is said, where there is one.
    pub(crate) on: Option<sync_core::id::DeviceId>,
    pub(crate) approve: bool,
}

/// Lets the companion in that shows this code, or turns it away. Codes that are none count as attempts to sign in do, so that
/// nobody finds another's by trying.
pub(crate) async fn decide(app: &App, note: &Note, word: Word<'_>, typed: &str) -> Result<(), ApiError> {
    let guesser = Hash::of(&[b"rejoin guesser of codes\0", word.user.as_bytes()]);
    let attempt = attempts::take(app, guesser).await?;
    for _ in 0..TRIES_MAX {
        let Some(Waiting { id, record, .. }) = waiting(app, typed).await? else { return Err(ApiError::not_found()) };
        let state = if word.approve { GrantState::Approved } else { GrantState::Denied };
        let client = record.grant.client.clone();
        let grant = Grant {
            state,
            user: Some(word.user.to_owned()),
            display_name: word.display_name.map(str::to_owned),
            ..record.grant
        };
        if app.registry.replace_grant(id, record.version, &grant).await? {
            attempts::succeed(app, guesser, attempt).await?;
            if word.approve {
                let detail = Some(format!("{client}, by the code that it showed"));
                let event =
                    Event { kind: Kind::CompanionApproved, user: word.user, device: word.on, space: None, detail };
                audit::record(app, Some(note), event).await;
            }
            return Ok(());
        }
    }
    Err(ApiError::busy())
}

/// What a companion is answered that asks before anybody has said anything, and the grant as it is then.
pub(super) fn ask(mut grant: Grant, now_ms: u64) -> (Grant, ApiError) {
    let pending = ("authorization_pending", "Nobody has said yes yet; ask again.");
    let slower = ("slow_down", "Too often: from now on wait five seconds longer between two questions.");
    let mut told = pending;
    if let GrantKind::Device { interval_s, asked_ms, .. } = &mut grant.kind {
        let next_ms = asked_ms.saturating_add(u64::from(*interval_s) * 1_000);
        if *asked_ms > 0 && now_ms.saturating_add(EARLY_MS) < next_ms {
            told = slower;
            *interval_s = interval_s.saturating_add(SLOWER_S).min(EXPIRES_S as u32);
        }
        *asked_ms = now_ms;
    }
    (grant, ApiError::oauth(told.0, ErrorCode::Pending, told.1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_have_eight_letters_of_twenty() {
        let codes: BTreeSet<String> = (0..2_000).map(|_| new_code().unwrap()).collect();
        assert_eq!(codes.len(), 2_000);
        let mut seen = [0; 20];
        for code in &codes {
            assert_eq!((code.len(), &code[4..5]), (9, "-"), "{code}");
            for byte in code.bytes().filter(|byte| *byte != b'-') {
                seen[LETTERS.iter().position(|letter| *letter == byte).unwrap()] += 1;
            }
        }
        // 800 of each are expected; a letter that were twice as likely as others would be far off.
        assert!(seen.iter().all(|times| (600..1_000).contains(times)), "{seen:?}");
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        for typed in ["BCDF-GHJK", "bcdfghjk", " bcdf ghjk ", "B-C-D-F-G-H-J-K"] {
            assert_eq!(read(typed).as_deref(), Some("BCDF-GHJK"), "{typed}");
        }
        for typed in ["", "BCDF-GHJ", "BCDF-GHJKL", "ACDF-GHJK", "BCDF-GHJ1", "BCDF_GHJK", "BCDF-GHJÄ", &" ".repeat(99)]
        {
            assert_eq!(read(typed), None, "{typed}");
        }
        assert_eq!(read(&format!("BCDFGHJK{}", " ".repeat(99))), None);
    }

    #[test]
    fn what_a_companion_redeems_names_a_row_and_a_secret() {
        let good = URL_SAFE_NO_PAD.encode([[1; 32], [2; 32]].concat());
        assert_eq!(parse(&good), Some((Hash([1; 32]), [2; 32])));
        for bad in ["", &good[..85], &format!("{good}AA"), &good.replace('A', "!")] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
