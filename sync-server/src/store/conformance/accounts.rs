//! Accounts, and attempts to sign in.

use std::sync::Arc;

use sync_core::id::Hash;

use super::super::accounts::{AccountRecord, Attempts};
use super::super::registry::Registry;
use super::author::{new_user, random};

fn account(email: &str) -> AccountRecord {
    AccountRecord {
        email: email.to_owned(),
        user: new_user(),
        password_hash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA".to_owned(),
        display_name: "Ann O’Neil \u{1f4dd}".to_owned(),
        created_ms: 1_800_000_000_123,
    }
}

/// An address has one account, and only whoever knows the hash replaces it.
pub async fn accounts(store: &dyn Registry) {
    let email = format!("{}@example.com", new_user());
    assert_eq!(store.account(&email).await.expect("a look-up"), None);
    let first = account(&email);
    assert!(store.add_account(first.clone()).await.expect("an account"));
    assert!(!store.add_account(account(&email)).await.expect("an answer"), "the address has one");
    assert_eq!(store.account(&email).await.expect("a look-up"), Some(first.clone()));
    assert_eq!(store.account_of(&first.user).await.expect("a look-up"), Some(first.clone()));
    assert_eq!(store.account_of(&new_user()).await.expect("a look-up"), None);
    assert_eq!(store.account(&email.to_uppercase()).await.expect("a look-up"), None, "letters are what they are");

    assert!(!store.replace_password(&email, "another", "new").await.expect("an answer"));
    assert!(store.replace_password(&email, &first.password_hash, "new").await.expect("an answer"));
    assert!(!store.replace_password(&email, &first.password_hash, "newer").await.expect("an answer"));
    let changed = AccountRecord { password_hash: "new".to_owned(), ..first };
    assert_eq!(store.account(&email).await.expect("a look-up"), Some(changed));
}

/// Of those who sign up with one address at once, one has it.
pub async fn one_account_of_many(store: Arc<dyn Registry>) {
    let email = format!("{}@example.com", new_user());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, account) = (Arc::clone(&store), account(&email));
        tasks.spawn(async move { store.add_account(account.clone()).await.expect("an answer").then_some(account) });
    }
    let mut added = Vec::new();
    while let Some(done) = tasks.join_next().await {
        added.extend(done.expect("a task"));
    }
    assert_eq!(added.len(), 1);
    assert_eq!(store.account(&email).await.expect("a look-up"), added.pop());
}

/// Attempts are replaced by whoever has read the newest, and forgotten in their time.
pub async fn attempts(store: &dyn Registry) {
    // Times of no other test, so that what is swept here is this one's.
    const NOW: u64 = 1_000_000;
    let identity = Hash::of(&[&random()]);
    assert_eq!(store.attempts(identity).await.expect("a look-up"), None);
    let first = Attempts {
        recent: vec![1, 1 << 40],
        failures: Vec::new(),
        in_a_row: 3,
        not_before_ms: 1 << 41,
        blocks: 2,
        blocked_until_ms: (1 << 41) + 1,
        forgotten_ms: NOW + 10,
    };
    let replace = async |of: Hash, was, attempts: &Attempts, now| {
        store.replace_attempts(of, was, attempts, now).await.expect("an answer")
    };
    assert!(!replace(identity, Some(1), &first, NOW).await, "there are none");
    assert!(replace(identity, None, &first, NOW).await);
    assert!(!replace(identity, None, &first, NOW).await, "there are some");
    let record = store.attempts(identity).await.expect("a look-up").expect("attempts");
    assert_eq!(record.attempts, first);
    let second = Attempts { failures: vec![7; 100], in_a_row: 4, ..first.clone() };
    assert!(replace(identity, Some(record.version), &second, NOW).await);
    assert!(!replace(identity, Some(record.version), &first, NOW).await, "it has changed meanwhile");
    let record = store.attempts(identity).await.expect("a look-up").expect("attempts");
    assert_eq!(record.attempts, second);

    // Another's attempt clears away what is over, and one's own finds the row that it has read.
    assert!(replace(identity, Some(record.version), &second, NOW + 10).await);
    let (other, kept) = (Hash::of(&[&random()]), Attempts { forgotten_ms: u64::MAX >> 1, ..Attempts::default() });
    assert!(replace(other, None, &kept, NOW + 9).await);
    assert!(store.attempts(identity).await.expect("a look-up").is_some(), "not yet");
    let record = store.attempts(other).await.expect("a look-up").expect("attempts");
    assert!(replace(other, Some(record.version), &kept, NOW + 10).await);
    assert_eq!(store.attempts(identity).await.expect("a look-up"), None);
}

/// Of those who have read the same, one replaces it.
pub async fn one_attempt_of_many(store: Arc<dyn Registry>) {
    let identity = Hash::of(&[&random()]);
    let kept = Attempts { forgotten_ms: u64::MAX >> 1, ..Attempts::default() };
    let mut was = None;
    for _ in 0..3 {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (store, kept) = (Arc::clone(&store), kept.clone());
            tasks.spawn(async move { store.replace_attempts(identity, was, &kept, 1).await.expect("an answer") });
        }
        let mut replaced = 0;
        while let Some(done) = tasks.join_next().await {
            replaced += u32::from(done.expect("a task"));
        }
        assert_eq!(replaced, 1);
        was = store.attempts(identity).await.expect("a look-up").map(|record| record.version);
    }
}
