//! People, their devices, and the sessions of those.

use std::sync::Arc;

use sync_core::id::{DeviceId, Hash};
use tokio::task::JoinSet;

use super::super::devices::{
    Begin, Begun, Cut, DEVICES_MAX, Description, Device, DeviceStanding, KEPT_MS, NAMES_MAX, Rotation, SWEEP_MAX,
    SessionId, Standing, Whose, Why,
};
use super::super::registry::Registry;
use super::author::{new_user, random};

const NOW_MS: u64 = 1_800_000_000_000;
const LIFETIME_MS: u64 = 30 * 86_400_000;

/// All of it.
pub async fn devices(registry: Arc<dyn Registry>) {
    let plain = &*registry;
    sign_ins(plain).await;
    refreshes(plain).await;
    ends(plain).await;
    revocation(plain).await;
    bounds(plain).await;
    what_is_long_past_is_forgotten(plain).await;
    cuts(plain).await;
    names(plain).await;
    one_of_many_rotations(Arc::clone(&registry)).await;
    nobody_begins_what_is_revoked(Arc::clone(&registry)).await;
    no_more_devices_than_may_be(registry).await;
}

fn new_device() -> DeviceId {
    DeviceId::from_random(random())
}

fn sign_in(user: &str, device: DeviceId, is_new: bool, now_ms: u64) -> Begin {
    Begin {
        user: user.to_owned(),
        display_name: None,
        device,
        is_new,
        description: Description {
            name: "Phone".to_owned(),
            platform: "ios".to_owned(),
            app_version: "1.0.0".to_owned(),
            public_key: Some([7; 32]),
        },
        session: SessionId::from_random(random()),
        nonce: random(),
        token_hash: Hash::of(&[b"first"]),
        now_ms,
        expires_ms: now_ms + LIFETIME_MS,
    }
}

/// A device that has signed in just now.
async fn signed_in(devices: &dyn Registry, user: &str) -> Begin {
    let begin = sign_in(user, new_device(), true, NOW_MS);
    assert_eq!(devices.begin(begin.clone()).await.expect("a sign-in"), Begun::Done);
    begin
}

async fn listed(devices: &dyn Registry, user: &str) -> Vec<Device> {
    devices.devices(user, NOW_MS).await.expect("a list")
}

async fn ended(devices: &dyn Registry, of: &Begin) -> Option<Why> {
    devices.session(&of.user, of.session).await.expect("a look").expect("a session").ended
}

async fn standing(devices: &dyn Registry, of: &Begin) -> Standing {
    devices.standing(&of.user, of.device, Some(of.session)).await.expect("a look")
}

const GOES_ON: Standing = Standing { device: Some(DeviceStanding::Registered), session_goes_on: true };
const IS_OVER: Standing = Standing { device: Some(DeviceStanding::Registered), session_goes_on: false };
const IS_REVOKED: Standing = Standing { device: Some(DeviceStanding::Revoked), session_goes_on: false };
const IS_UNKNOWN: Standing = Standing { device: None, session_goes_on: false };

async fn sign_ins(devices: &dyn Registry) {
    let (user, other) = (new_user(), new_user());
    let first = signed_in(devices, &user).await;
    let session = devices.session(&user, first.session).await.expect("a look").expect("a session");
    assert_eq!((session.device, session.nonce, session.n), (first.device, first.nonce, 1));
    assert_eq!((session.token_hash, session.public_key), (first.token_hash, Some([7; 32])));
    assert_eq!((session.rotated_ms, session.expires_ms), (NOW_MS, NOW_MS + LIFETIME_MS));
    assert_eq!(session.ended, None);
    assert_eq!(devices.session(&other, first.session).await.expect("a look"), None, "it is its user's");
    assert_eq!(standing(devices, &first).await, GOES_ON);

    // The same device again: it keeps its id, and its key where it names none.
    let mut again = sign_in(&user, first.device, false, NOW_MS + 5);
    "Old phone".clone_into(&mut again.description.name);
    again.description.public_key = None;
    assert_eq!(devices.begin(again.clone()).await.expect("a sign-in"), Begun::Done);
    assert_eq!(ended(devices, &first).await, Some(Why::Replaced));
    assert_eq!((standing(devices, &first).await, standing(devices, &again).await), (IS_OVER, GOES_ON));
    let session = devices.session(&user, again.session).await.expect("a look").expect("a session");
    assert_eq!(session.public_key, Some([7; 32]));
    let second = sign_in(&user, new_device(), true, NOW_MS + 9);
    assert_eq!(devices.begin(second.clone()).await.expect("a sign-in"), Begun::Done);
    assert_eq!(ended(devices, &again).await, None, "another device is another matter");
    let device = |of: &Begin, created_ms| Device {
        device: of.device,
        name: of.description.name.clone(),
        platform: "ios".to_owned(),
        app_version: "1.0.0".to_owned(),
        created_ms,
        seen_ms: of.now_ms,
        signed_in: true,
    };
    assert_eq!(listed(devices, &user).await, [device(&again, NOW_MS), device(&second, NOW_MS + 9)]);
    let later = devices.devices(&user, NOW_MS + LIFETIME_MS + 5).await.expect("a list");
    assert_eq!(later.iter().map(|device| device.signed_in).collect::<Vec<_>>(), [false, true], "one has expired");

    // Neither another's device nor one that nobody has.
    for (user, device) in [(&other, first.device), (&user, new_device())] {
        let unknown = sign_in(user, device, false, NOW_MS);
        assert_eq!(devices.begin(unknown.clone()).await.expect("an answer"), Begun::Unknown);
        assert_eq!(standing(devices, &unknown).await, IS_UNKNOWN);
    }
    assert_eq!(listed(devices, &other).await, []);
    for session in [None, Some(second.session)] {
        let standing = devices.standing(&user, again.device, session).await.expect("a look");
        assert_eq!(standing.session_goes_on, session.is_none(), "a session is its device's");
    }
    assert!(devices.rename(&user, first.device, "Tablet").await.expect("a name"));
    assert!(!devices.rename(&other, first.device, "Mine").await.expect("an answer"));
    assert_eq!(listed(devices, &user).await[0].name, "Tablet");
}

fn rotation(from_n: u64, now_ms: u64) -> Rotation {
    let (n, token_hash) = (from_n + 1, Hash::of(&[&from_n.to_be_bytes()]));
    Rotation { from_n, n, token_hash, now_ms, expires_ms: now_ms + LIFETIME_MS, app_version: None }
}

async fn refreshes(devices: &dyn Registry) {
    let user = new_user();
    let of = signed_in(devices, &user).await;
    let rotate = async |rotation| devices.rotate(&user, of.session, rotation).await.expect("an answer");
    assert!(rotate(rotation(1, NOW_MS + 10)).await);
    assert!(!rotate(rotation(1, NOW_MS + 11)).await, "another was faster");
    assert!(!rotate(rotation(3, NOW_MS + 11)).await);
    let session = devices.session(&user, of.session).await.expect("a look").expect("a session");
    let expected = (2, Hash::of(&[&1_u64.to_be_bytes()]), NOW_MS + 10, NOW_MS + 10 + LIFETIME_MS);
    assert_eq!((session.n, session.token_hash, session.rotated_ms, session.expires_ms), expected);
    let device = listed(devices, &user).await.remove(0);
    assert_eq!((device.seen_ms, device.app_version.as_str()), (NOW_MS + 10, "1.0.0"));
    let version = Some("2.0.0".to_owned());
    assert!(rotate(Rotation { n: 9, app_version: version, ..rotation(2, NOW_MS + 20) }).await);
    let device = listed(devices, &user).await.remove(0);
    assert_eq!((device.seen_ms, device.app_version.as_str()), (NOW_MS + 20, "2.0.0"));
    assert_eq!(devices.session(&user, of.session).await.expect("a look").expect("a session").n, 9);
    let nobody = devices.rotate(&new_user(), of.session, rotation(9, NOW_MS)).await.expect("an answer");
    assert!(!nobody, "it is its user's");
    devices.end(&user, Whose::One(of.session), Why::LoggedOut, NOW_MS).await.expect("an end");
    assert!(!rotate(rotation(9, NOW_MS)).await, "it is over");
}

async fn ends(devices: &dyn Registry) {
    let (user, other) = (new_user(), new_user());
    let stranger = signed_in(devices, &other).await;
    let three = [signed_in(devices, &user).await, signed_in(devices, &user).await, signed_in(devices, &user).await];
    let end = async |whose, why| {
        let mut ended = devices.end(&user, whose, why, NOW_MS + 7).await.expect("an end");
        ended.sort();
        ended
    };
    assert_eq!(end(Whose::One(three[0].session), Why::Theft).await, [three[0].device]);
    assert_eq!(end(Whose::One(three[0].session), Why::LoggedOut).await, [], "it was over before");
    assert_eq!(ended(devices, &three[0]).await, Some(Why::Theft), "and stays as it was");
    assert_eq!(end(Whose::One(stranger.session), Why::Theft).await, [], "it is another's");
    assert_eq!(end(Whose::Of(three[1].device), Why::LoggedOut).await, [three[1].device]);
    assert_eq!(end(Whose::All, Why::LoggedOut).await, [three[2].device]);
    let two = [signed_in(devices, &user).await, signed_in(devices, &user).await];
    assert_eq!(end(Whose::AllBut(two[0].device), Why::LoggedOut).await, [two[1].device]);
    assert_eq!((ended(devices, &two[0]).await, ended(devices, &stranger).await), (None, None));
    assert_eq!(listed(devices, &user).await.len(), 5, "they stay registered");
}

async fn revocation(devices: &dyn Registry) {
    let (user, other) = (new_user(), new_user());
    let of = signed_in(devices, &user).await;
    assert_eq!(devices.revoke(&other, of.device, NOW_MS).await.expect("an answer"), None, "it is another's");
    assert_eq!(devices.revoke(&user, new_device(), NOW_MS).await.expect("an answer"), None);
    assert_eq!(standing(devices, &of).await, GOES_ON);
    assert_eq!(devices.revoke(&user, of.device, NOW_MS).await.expect("an answer"), Some(true));
    assert_eq!(devices.revoke(&user, of.device, NOW_MS).await.expect("an answer"), Some(false));
    assert_eq!((standing(devices, &of).await, ended(devices, &of).await), (IS_REVOKED, Some(Why::Revoked)));
    assert_eq!(listed(devices, &user).await, []);
    assert!(!devices.rename(&user, of.device, "x").await.expect("an answer"));
    for is_new in [true, false] {
        let again = sign_in(&user, of.device, is_new, NOW_MS);
        assert_eq!(devices.begin(again).await.expect("an answer"), Begun::Revoked);
    }
}

async fn bounds(devices: &dyn Registry) {
    let user = new_user();
    let first = signed_in(devices, &user).await;
    for _ in 1..DEVICES_MAX {
        signed_in(devices, &user).await;
    }
    let one_more = || sign_in(&user, new_device(), true, NOW_MS);
    assert_eq!(devices.begin(one_more()).await.expect("an answer"), Begun::TooMany);
    let again = sign_in(&user, first.device, false, NOW_MS);
    assert_eq!(devices.begin(again).await.expect("an answer"), Begun::Done);
    devices.revoke(&user, first.device, NOW_MS).await.expect("an answer");
    assert_eq!(devices.begin(one_more()).await.expect("an answer"), Begun::Done);
    assert_eq!(listed(devices, &user).await.len(), DEVICES_MAX as usize);
}

async fn what_is_long_past_is_forgotten(devices: &dyn Registry) {
    let user = new_user();
    let device = signed_in(devices, &user).await;
    let mut sessions = vec![device.clone()];
    for number in 1..u64::from(SWEEP_MAX) + 4 {
        let again = sign_in(&user, device.device, false, NOW_MS + number);
        assert_eq!(devices.begin(again.clone()).await.expect("an answer"), Begun::Done);
        sessions.push(again);
    }
    let lost = signed_in(devices, &user).await;
    devices.revoke(&user, lost.device, NOW_MS).await.expect("an answer");
    let is_there = async |of: &Begin| devices.session(&user, of.session).await.expect("a look").is_some();
    let later = async |after_ms| {
        let begin = sign_in(&user, device.device, false, NOW_MS + after_ms);
        assert_eq!(devices.begin(begin).await.expect("an answer"), Begun::Done);
    };
    later(KEPT_MS).await;
    assert!(is_there(&sessions[0]).await && standing(devices, &lost).await == IS_REVOKED, "not before its time");
    later(KEPT_MS + 1_000).await;
    let mut left = 0;
    for session in &sessions {
        left += u32::from(is_there(session).await);
    }
    assert!(left > 0 && left < sessions.len() as u32, "some at once, not all: {left}");
    later(KEPT_MS + 1_000).await;
    assert!(!is_there(&sessions[0]).await);
    assert_eq!(standing(devices, &lost).await, IS_UNKNOWN, "the tombstone, too");
    assert_eq!(listed(devices, &user).await.len(), 1);
}

/// What was cut off is told to whoever asks since before, whosever it was.
async fn cuts(devices: &dyn Registry) {
    // Far from what others do in the same database.
    let at_ms = NOW_MS + LIFETIME_MS + (u64::from_be_bytes(random()[..8].try_into().expect("8 bytes")) >> 32) * 1_000;
    let (ann, bob) = (new_user(), new_user());
    let (phone, lost) = (signed_in(devices, &ann).await, signed_in(devices, &bob).await);
    let told = async |since_ms, max| {
        let cuts = devices.cut_since(since_ms, max).await.expect("an answer");
        assert!(cuts.len() <= max as usize && cuts.is_sorted_by(|one, next| one.at_ms >= next.at_ms), "{cuts:?}");
        cuts.into_iter().filter(|cut| cut.user == ann || cut.user == bob).collect::<Vec<_>>()
    };
    assert_eq!(told(at_ms, 1_000).await, []);
    devices.end(&ann, Whose::All, Why::LoggedOut, at_ms).await.expect("an end");
    devices.revoke(&bob, lost.device, at_ms + 1).await.expect("an answer");
    let cut = |user: &String, of: &Begin, at_ms| Cut { at_ms, user: user.clone(), device: of.device };
    let (of_ann, of_bob) = (cut(&ann, &phone, at_ms), cut(&bob, &lost, at_ms + 1));
    let all = told(at_ms, 1_000).await;
    assert!(all.contains(&of_ann) && all.contains(&of_bob) && all.len() <= 3, "{all:?}");
    let later = told(at_ms + 1, 1_000).await;
    assert!(later.contains(&of_bob) && !later.contains(&of_ann), "{later:?}");
    assert_eq!(told(at_ms + 2, 1_000).await, []);
    assert_eq!(devices.cut_since(at_ms, 1).await.expect("an answer").len(), 1, "the latest");
    // Without a session, too: it is the device that is cut off.
    let third = signed_in(devices, &ann).await;
    devices.end(&ann, Whose::All, Why::LoggedOut, NOW_MS).await.expect("an end");
    devices.revoke(&ann, third.device, at_ms + 3).await.expect("an answer");
    assert_eq!(told(at_ms + 2, 1_000).await, [cut(&ann, &third, at_ms + 3)]);
}

async fn names(devices: &dyn Registry) {
    let (ann, bob, nobody) = (new_user(), new_user(), new_user());
    let named = |user: &str, name: Option<&str>| Begin {
        display_name: name.map(str::to_owned),
        ..sign_in(user, new_device(), true, NOW_MS)
    };
    for (user, name) in [(&ann, Some("Ann")), (&bob, None), (&ann, None)] {
        assert_eq!(devices.begin(named(user, name)).await.expect("a sign-in"), Begun::Done);
    }
    let told = async |users: &[String]| devices.names(users).await.expect("names");
    let asked = [bob.clone(), ann.clone(), nobody];
    assert_eq!(told(&asked).await, [(ann.clone(), "Ann".to_owned())], "who says nothing keeps the name");
    devices.begin(named(&ann, Some("Anna"))).await.expect("a sign-in");
    assert_eq!(told(&asked).await, [(ann.clone(), "Anna".to_owned())]);
    assert_eq!(told(&[]).await, []);
    let many: Vec<String> = (0..NAMES_MAX).map(|_| new_user()).chain([ann]).collect();
    assert_eq!(told(&many).await, [], "not more than so many are looked up");
}

/// The next token follows once.
async fn one_of_many_rotations(devices: Arc<dyn Registry>) {
    let user = new_user();
    let of = signed_in(&*devices, &user).await;
    for n in 1..=3 {
        let mut racing = JoinSet::new();
        for _ in 0..16 {
            let (devices, user, session) = (Arc::clone(&devices), user.clone(), of.session);
            racing.spawn(async move { devices.rotate(&user, session, rotation(n, NOW_MS)).await.expect("an answer") });
        }
        let rotated = racing.join_all().await.into_iter().filter(|rotated| *rotated).count();
        assert_eq!(rotated, 1);
    }
}

/// Whoever signs in while its device is revoked is either refused or cut off.
async fn nobody_begins_what_is_revoked(devices: Arc<dyn Registry>) {
    for _ in 0..10 {
        let user = new_user();
        let of = signed_in(&*devices, &user).await;
        let mut racing = JoinSet::new();
        let mut begins = Vec::new();
        for at in 0..8 {
            let (devices, user) = (Arc::clone(&devices), user.clone());
            if at == 4 {
                racing.spawn(async move {
                    devices.revoke(&user, of.device, NOW_MS).await.expect("an answer");
                });
                continue;
            }
            let again = sign_in(&user, of.device, false, NOW_MS);
            begins.push(again.clone());
            racing.spawn(async move {
                let begun = devices.begin(again).await.expect("an answer");
                assert!(matches!(begun, Begun::Done | Begun::Revoked), "{begun:?}");
            });
        }
        racing.join_all().await;
        for begin in begins {
            assert_eq!(standing(&*devices, &begin).await, IS_REVOKED);
        }
    }
}

/// However many sign in at once.
async fn no_more_devices_than_may_be(devices: Arc<dyn Registry>) {
    let user = new_user();
    for _ in 0..DEVICES_MAX - 2 {
        signed_in(&*devices, &user).await;
    }
    let mut racing = JoinSet::new();
    for _ in 0..12 {
        let (devices, begin) = (Arc::clone(&devices), sign_in(&user, new_device(), true, NOW_MS));
        racing.spawn(async move { devices.begin(begin).await.expect("an answer") });
    }
    let begun = racing.join_all().await;
    assert_eq!(begun.iter().filter(|begun| **begun == Begun::Done).count(), 2, "{begun:?}");
    assert_eq!(listed(&*devices, &user).await.len(), DEVICES_MAX as usize);
}
