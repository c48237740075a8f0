//! Grants.

use std::sync::Arc;

use sync_core::id::{DeviceId, Hash};

use super::super::grants::{GRANT_KEPT_MS, Grant, GrantKind, GrantState};
use super::super::registry::Registry;
use super::author::{new_user, random};

/// Past what any other test leaves, so that what is swept here is this one's.
const NOW: u64 = 1_000_000;

fn code() -> Grant {
    Grant {
        kind: GrantKind::Code {
            redirect_uri: "http://127.0.0.1:4711/?a=ä".to_owned(),
            challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned(),
        },
        state: GrantState::Approved,
        client: "desktop".to_owned(),
        user: Some(new_user()),
        display_name: None,
        device: None,
        expires_ms: NOW + 60_000,
    }
}

fn device() -> Grant {
    let kind = GrantKind::Device { secret: Hash::of(&[&random()]), interval_s: 5, asked_ms: 0 };
    Grant { kind, state: GrantState::Asked, client: "tv".to_owned(), user: None, ..code() }
}

/// Grants are added once, changed by whoever has read the newest, and forgotten a while after they have expired.
pub async fn grants(store: &dyn Registry) {
    for grant in [code(), device()] {
        let id = Hash::of(&[&random()]);
        assert_eq!(store.grant(id).await.expect("a look-up"), None);
        assert!(store.add_grant(id, &grant, NOW).await.expect("an answer"));
        assert!(!store.add_grant(id, &device(), NOW).await.expect("an answer"), "there is one");
        let first = store.grant(id).await.expect("a look-up").expect("a grant");
        assert_eq!(first.grant, grant);

        let kind = match grant.kind.clone() {
            GrantKind::Device { secret, .. } => GrantKind::Device { secret, interval_s: 10, asked_ms: NOW + 7 },
            code @ GrantKind::Code { .. } => code,
        };
        for state in [GrantState::Denied, GrantState::Redeemed, GrantState::Spoilt] {
            let known = store.grant(id).await.expect("a look-up").expect("a grant");
            let next = Grant {
                kind: kind.clone(),
                state,
                user: Some(new_user()),
                display_name: Some("Ann O’Neil".to_owned()),
                device: Some(DeviceId::from_random(random())),
                ..grant.clone()
            };
            assert!(store.replace_grant(id, known.version, &next).await.expect("an answer"));
            assert!(!store.replace_grant(id, known.version, &grant).await.expect("an answer"), "it has changed");
            let known = store.grant(id).await.expect("a look-up").expect("a grant");
            assert_eq!(known.grant, next);
        }

        let over = grant.expires_ms + GRANT_KEPT_MS;
        assert!(store.add_grant(Hash::of(&[&random()]), &device(), over - 1).await.expect("an answer"));
        assert!(store.grant(id).await.expect("a look-up").is_some(), "not yet");
        assert!(store.add_grant(Hash::of(&[&random()]), &device(), over).await.expect("an answer"));
        assert_eq!(store.grant(id).await.expect("a look-up"), None);
    }
    assert!(!store.replace_grant(Hash::of(&[&random()]), 1, &code()).await.expect("an answer"), "there is none");
}

/// Of those who have read the same, one changes it.
pub async fn one_redemption_of_many(store: Arc<dyn Registry>) {
    let id = Hash::of(&[&random()]);
    let grant = Grant { expires_ms: u64::MAX >> 1, ..code() };
    assert!(store.add_grant(id, &grant, 0).await.expect("an answer"));
    let known = store.grant(id).await.expect("a look-up").expect("a grant");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, next) = (Arc::clone(&store), Grant { state: GrantState::Redeemed, ..grant.clone() });
        tasks.spawn(async move { store.replace_grant(id, known.version, &next).await.expect("an answer") });
    }
    let mut redeemed = 0;
    while let Some(done) = tasks.join_next().await {
        redeemed += u32::from(done.expect("a task"));
    }
    assert_eq!(redeemed, 1);
}
