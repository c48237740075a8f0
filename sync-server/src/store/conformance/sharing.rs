//! Spaces as people make and share them: members, roles, invitations, and what is decided when many decide at once.

use std::sync::Arc;

use sync_core::id::{Hash, SpaceId};
use sync_core::ledger::Role;
use uuid::Uuid;

use super::super::Store;
use super::super::invites::{Acceptance, Invite, Joined, NewInvite, USED_KEPT};
use super::super::registry::Registry;
use super::super::spaces::{Bounds, NewSpace, OwnSpace, Refusal};
use super::author::{new_space, new_user, random};

/// A time that no test is at.
const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;
/// Small, so that they are reached.
const FEW: Bounds = Bounds { members_max: 12, spaces_made_max: 7, open_invites_max: 9, kept_invites_max: 15 };

/// All of it.
pub async fn sharing<T: Store + Registry>(store: &Arc<T>) {
    made(&**store).await;
    members(&**store).await;
    invites(&**store).await;
    invites_are_bounded(&**store).await;
    members_are_bounded(&**store).await;
    owners_race(store).await;
    an_invitation_is_accepted_once(store).await;
}

async fn make(store: &dyn Registry, owner: &str) -> SpaceId {
    let space = new_space();
    let new = NewSpace { space, name: "Household".to_owned(), owner: owner.to_owned(), now_ms: NOW_MS, bounds: FEW };
    store.create_space(new).await.expect("a store").expect("a space");
    space
}

/// A secret is whatever is hashed.
fn hash(secret: Uuid) -> Hash {
    Hash::of(&[secret.as_bytes()])
}

async fn try_invite(store: &dyn Registry, space: SpaceId, by: &str, role: Role, now_ms: u64) -> Result<Uuid, Refusal> {
    let invite = Uuid::from_bytes(random());
    let (by, secret_hash, expires_ms) = (by.to_owned(), hash(invite), now_ms + HOUR_MS);
    let new = NewInvite { space, by, invite, secret_hash, role, now_ms, expires_ms, bounds: FEW };
    store.invite(new).await.expect("a store").map(|()| invite)
}

async fn invite(store: &dyn Registry, space: SpaceId, by: &str, role: Role) -> Uuid {
    try_invite(store, space, by, role, NOW_MS).await.expect("an invitation")
}

fn acceptance(space: SpaceId, invite: Uuid, user: &str) -> Acceptance {
    Acceptance { space, invite, secret_hash: hash(invite), user: user.to_owned(), now_ms: NOW_MS, bounds: FEW }
}

async fn accept(store: &dyn Registry, acceptance: Acceptance) -> Result<Joined, Refusal> {
    store.accept_invite(acceptance).await.expect("a store")
}

async fn join(store: &dyn Registry, space: SpaceId, by: &str, role: Role) -> String {
    let (user, invite) = (new_user(), invite(store, space, by, role).await);
    let joined = accept(store, acceptance(space, invite, &user)).await.expect("a member");
    assert_eq!(joined, Joined { role, name: Some("Household".to_owned()), is_new: true });
    user
}

/// Spaces with names, so many a user.
pub async fn made<T: Store + Registry>(store: &T) {
    let (ann, other) = (new_user(), new_user());
    let space = make(store, &ann).await;
    let unnamed = new_space();
    store.set_role(unnamed, &ann, Some(Role::Reader)).await.expect("a role");
    let mut expected = vec![
        OwnSpace { space, role: Role::Owner, name: Some("Household".to_owned()) },
        OwnSpace { space: unnamed, role: Role::Reader, name: None },
    ];
    expected.sort_by_key(|own| own.space);
    assert_eq!(store.named_spaces_of(&ann).await.expect("spaces"), expected);
    assert_eq!(store.named_spaces_of(&other).await.expect("spaces"), []);
    assert_eq!(store.role(space, &ann).await.expect("a role"), Some(Role::Owner));
    store.version(space).await.expect("a space to push to");

    for _ in 0..FEW.spaces_made_max {
        make(store, &other).await;
    }
    let one_more =
        NewSpace { space: new_space(), name: "x".to_owned(), owner: other.clone(), now_ms: NOW_MS, bounds: FEW };
    assert_eq!(store.create_space(one_more.clone()).await.expect("a store"), Err(Refusal::TooMany));
    assert_eq!(store.role(one_more.space, &other).await.expect("a role"), None, "nothing of it is there");
    make(store, &ann).await;
}

/// Owners decide, members leave, one owner stays; who is no member finds nothing.
pub async fn members<T: Store + Registry>(store: &T) {
    let ann = new_user();
    let (space, elsewhere, nowhere) = (make(store, &ann).await, make(store, &new_user()).await, new_space());
    let bob = join(store, space, &ann, Role::Writer).await;
    let eve = join(store, space, &ann, Role::Reader).await;
    let stranger = new_user();
    let mut expected = vec![(ann.clone(), Role::Owner), (bob.clone(), Role::Writer), (eve.clone(), Role::Reader)];
    expected.sort();
    for by in [&ann, &bob, &eve] {
        assert_eq!(store.members(space, by).await.expect("a store").expect("members"), expected);
    }
    let change =
        async |space, by: &str, user: &str, role| store.change_role(space, by, user, role).await.expect("a store");
    let remove = async |space, by: &str, user: &str| store.remove_member(space, by, user).await.expect("a store");

    for space in [elsewhere, nowhere] {
        assert_eq!(store.members(space, &ann).await.expect("a store"), Err(Refusal::NotFound));
        assert_eq!(change(space, &ann, &bob, Role::Owner).await, Err(Refusal::NotFound));
        assert_eq!(change(space, &ann, &ann, Role::Owner).await, Err(Refusal::NotFound));
        assert_eq!(remove(space, &ann, &ann).await, Err(Refusal::NotFound));
        assert_eq!(remove(space, &ann, &bob).await, Err(Refusal::NotFound));
    }
    for by in [&bob, &eve] {
        assert_eq!(change(space, by, by, Role::Owner).await, Err(Refusal::Forbidden));
        assert_eq!(change(space, by, &stranger, Role::Owner).await, Err(Refusal::Forbidden));
        assert_eq!(remove(space, by, &ann).await, Err(Refusal::Forbidden));
    }
    assert_eq!(change(space, &stranger, &bob, Role::Owner).await, Err(Refusal::NotFound));
    assert_eq!(change(space, &ann, &stranger, Role::Reader).await, Err(Refusal::NotFound), "only who is a member");
    assert_eq!(remove(space, &ann, &stranger).await, Err(Refusal::NotFound));
    assert_eq!(change(space, &ann, &ann, Role::Writer).await, Err(Refusal::LastOwner));
    assert_eq!(remove(space, &ann, &ann).await, Err(Refusal::LastOwner));
    assert_eq!(store.members(space, &ann).await.expect("a store").expect("members"), expected, "nothing has changed");

    assert_eq!(change(space, &ann, &bob, Role::Owner).await, Ok(Role::Writer));
    assert_eq!(change(space, &bob, &ann, Role::Reader).await, Ok(Role::Owner));
    assert_eq!(remove(space, &ann, &bob).await, Err(Refusal::Forbidden), "an owner no more");
    assert_eq!(remove(space, &bob, &eve).await, Ok(()));
    assert_eq!(store.role(space, &eve).await.expect("a role"), None);
    assert_eq!(store.members(space, &eve).await.expect("a store"), Err(Refusal::NotFound));
    assert_eq!(remove(space, &ann, &ann).await, Ok(()), "anybody leaves");
    assert_eq!(store.named_spaces_of(&ann).await.expect("spaces"), []);
}

/// For one person, for a while, by owners.
pub async fn invites<T: Store + Registry>(store: &T) {
    let ann = new_user();
    let (space, nowhere) = (make(store, &ann).await, new_space());
    let bob = join(store, space, &ann, Role::Writer).await;
    let (eve, dan) = (new_user(), new_user());
    let open = async |space, by: &str, now_ms| store.open_invites(space, by, now_ms).await.expect("a store");

    for (by, refusal) in [(&bob, Refusal::Forbidden), (&eve, Refusal::NotFound)] {
        assert_eq!(try_invite(store, space, by, Role::Reader, NOW_MS).await, Err(refusal));
        assert_eq!(open(space, by, NOW_MS).await, Err(refusal));
        assert_eq!(store.revoke_invite(space, by, Uuid::nil(), NOW_MS).await.expect("a store"), Err(refusal));
    }
    assert_eq!(try_invite(store, nowhere, &ann, Role::Reader, NOW_MS).await, Err(Refusal::NotFound));
    assert_eq!(open(nowhere, &ann, NOW_MS).await, Err(Refusal::NotFound));

    let id = invite(store, space, &ann, Role::Reader).await;
    let told = |invite| Invite {
        invite,
        role: Role::Reader,
        by: ann.clone(),
        created_ms: NOW_MS,
        expires_ms: NOW_MS + HOUR_MS,
    };
    assert_eq!(open(space, &ann, NOW_MS).await, Ok(vec![told(id)]), "what was accepted is not open");
    assert_eq!(open(space, &ann, NOW_MS + HOUR_MS).await, Ok(Vec::new()), "nor what has expired");

    // Whatever is wrong with it, and who holds a higher role keeps it.
    let fine = acceptance(space, id, &eve);
    for wrong in [
        Acceptance { secret_hash: hash(Uuid::nil()), ..fine.clone() },
        Acceptance { invite: Uuid::from_bytes(random()), ..fine.clone() },
        Acceptance { space: nowhere, ..fine.clone() },
        Acceptance { now_ms: NOW_MS + HOUR_MS, ..fine.clone() },
    ] {
        assert_eq!(accept(store, wrong.clone()).await, Err(Refusal::NotFound), "{wrong:?}");
    }
    let name = Some("Household".to_owned());
    let stays = |role| Ok(Joined { role, name: name.clone(), is_new: false });
    assert_eq!(accept(store, acceptance(space, id, &bob)).await, stays(Role::Writer));
    assert_eq!(open(space, &ann, NOW_MS).await, Ok(vec![told(id)]), "and it is not used up");
    assert_eq!(accept(store, fine.clone()).await, Ok(Joined { role: Role::Reader, name: name.clone(), is_new: true }));
    assert_eq!(accept(store, fine.clone()).await, stays(Role::Reader), "who lost the answer gets it again");
    for other in [&dan, &bob, &ann] {
        assert_eq!(accept(store, acceptance(space, id, other)).await, Err(Refusal::NotFound), "nobody else does");
    }
    store.remove_member(space, &ann, &eve).await.expect("a store").expect("a member");
    assert_eq!(accept(store, fine).await, Err(Refusal::NotFound), "and it lets nobody in again");
    assert_eq!(store.revoke_invite(space, &ann, id, NOW_MS).await.expect("a store"), Err(Refusal::NotFound));

    // A higher role is taken, once.
    let raise = invite(store, space, &ann, Role::Owner).await;
    assert_eq!(
        accept(store, acceptance(space, raise, &bob)).await,
        Ok(Joined { role: Role::Owner, name, is_new: true })
    );
    assert_eq!(store.role(space, &bob).await.expect("a role"), Some(Role::Owner));
    assert_eq!(accept(store, acceptance(space, raise, &dan)).await, Err(Refusal::NotFound));

    // What was taken back lets nobody in.
    let back = invite(store, space, &bob, Role::Reader).await;
    assert_eq!(
        store.revoke_invite(space, &ann, back, NOW_MS + HOUR_MS).await.expect("a store"),
        Err(Refusal::NotFound)
    );
    assert_eq!(store.revoke_invite(space, &ann, back, NOW_MS).await.expect("a store"), Ok(()));
    assert_eq!(store.revoke_invite(space, &ann, back, NOW_MS).await.expect("a store"), Err(Refusal::NotFound));
    assert_eq!(accept(store, acceptance(space, back, &dan)).await, Err(Refusal::NotFound));
}

/// So many open ones, and so many in all; dead ones make room.
pub async fn invites_are_bounded<T: Store + Registry>(store: &T) {
    let ann = new_user();
    let space = make(store, &ann).await;
    let mut some = Vec::new();
    for _ in 0..FEW.open_invites_max {
        some.push(invite(store, space, &ann, Role::Reader).await);
    }
    let more = async |now_ms| try_invite(store, space, &ann, Role::Reader, now_ms).await;
    assert_eq!(more(NOW_MS).await, Err(Refusal::TooMany));
    store.revoke_invite(space, &ann, some[0], NOW_MS).await.expect("a store").expect("an invitation");
    more(NOW_MS).await.expect("room for one");
    assert_eq!(more(NOW_MS).await, Err(Refusal::TooMany));
    let later = NOW_MS + HOUR_MS;
    for _ in 0..FEW.open_invites_max {
        more(later).await.expect("room of those that have expired");
    }
    assert_eq!(more(later).await, Err(Refusal::TooMany));

    // Accepted ones stay for a day, and count.
    let space = make(store, &ann).await;
    let more = async |now_ms| try_invite(store, space, &ann, Role::Reader, now_ms).await;
    for _ in 0..FEW.kept_invites_max {
        let member = join(store, space, &ann, Role::Reader).await;
        store.remove_member(space, &ann, &member).await.expect("a store").expect("a member");
    }
    let kept = NOW_MS + USED_KEPT.as_millis() as u64;
    assert_eq!(more(kept).await, Err(Refusal::TooMany));
    more(kept + 1).await.expect("room of those from yesterday");
}

/// So many members.
pub async fn members_are_bounded<T: Store + Registry>(store: &T) {
    let ann = new_user();
    let space = make(store, &ann).await;
    let (last, late) = (invite(store, space, &ann, Role::Writer).await, invite(store, space, &ann, Role::Reader).await);
    for at in 2..FEW.members_max {
        store.set_role(space, &format!("member {at}"), Some(Role::Reader)).await.expect("a role");
    }
    accept(store, acceptance(space, last, "the last")).await.expect("room for one");
    assert_eq!(accept(store, acceptance(space, late, "too late")).await, Err(Refusal::TooMany));
    assert_eq!(store.members(space, &ann).await.expect("a store").expect("members").len() as u64, FEW.members_max);
    // Nor does it keep anybody from more rights who is there already, or use anything up.
    let raise = invite(store, space, &ann, Role::Owner).await;
    accept(store, acceptance(space, raise, "member 2")).await.expect("no further member");
    store.remove_member(space, &ann, "member 3").await.expect("a store").expect("a member");
    accept(store, acceptance(space, late, "too late")).await.expect("room again");
}

/// Two owners who demote, or remove, each other at the same time: one of them stays owner.
pub async fn owners_race<T: Store + Registry>(store: &Arc<T>) {
    for round in 0..20 {
        let ann = new_user();
        let space = make(&**store, &ann).await;
        let bob = join(&**store, space, &ann, Role::Owner).await;
        let mut tasks = tokio::task::JoinSet::new();
        for (by, user) in [(&ann, &bob), (&bob, &ann), (&ann, &ann), (&bob, &bob)] {
            let (store, by, user) = (Arc::clone(store), by.clone(), user.clone());
            tasks.spawn(async move {
                match (round + usize::from(by == user)) % 2 {
                    0 => store.change_role(space, &by, &user, Role::Reader).await.expect("a store").is_ok(),
                    _ => store.remove_member(space, &by, &user).await.expect("a store").is_ok(),
                }
            });
        }
        let mut done = 0;
        while let Some(task) = tasks.join_next().await {
            done += u32::from(task.expect("a task"));
        }
        let mut owners = 0;
        for user in [&ann, &bob] {
            owners += u32::from(store.role(space, user).await.expect("a role") == Some(Role::Owner));
        }
        assert_eq!(owners, 1, "of two owners one stays");
        assert!(done >= 1, "somebody was first");
    }
}

/// Twenty at once: one gets in.
pub async fn an_invitation_is_accepted_once<T: Store + Registry>(store: &Arc<T>) {
    let ann = new_user();
    let space = make(&**store, &ann).await;
    let id = invite(&**store, space, &ann, Role::Writer).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, user) = (Arc::clone(store), new_user());
        tasks.spawn(async move { accept(&*store, acceptance(space, id, &user)).await });
    }
    let mut joined = 0;
    while let Some(done) = tasks.join_next().await {
        match done.expect("a task") {
            Ok(_) => joined += 1,
            Err(refusal) => assert_eq!(refusal, Refusal::NotFound),
        }
    }
    assert_eq!(joined, 1);
    assert_eq!(store.members(space, &ann).await.expect("a store").expect("members").len(), 2);
}
