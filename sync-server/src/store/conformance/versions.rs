//! The oldest versions of apps that are served. The store may be one that others use already: each run has platforms of its
//! own.

use super::super::registry::Registry;
use super::super::versions::AppMinimum;
use super::author::new_user;

fn minimum(platform: &str, minimum: &str) -> AppMinimum {
    let update_url = format!("https://example.com/{platform}");
    AppMinimum { platform: platform.to_owned(), minimum: minimum.to_owned(), update_url }
}

/// Set, set again, cleared.
pub async fn versions(registry: &dyn Registry) {
    let random = new_user();
    let (first, second) = (format!("a-{random}"), format!("b-{random}"));
    let mine = async || -> Vec<AppMinimum> {
        let all = registry.app_minimums().await.expect("all of them");
        assert!(all.is_sorted_by(|one, other| one.platform < other.platform), "in order: {all:?}");
        all.into_iter().filter(|minimum| [&first, &second].contains(&&minimum.platform)).collect()
    };
    let set = async |minimum: &AppMinimum| registry.set_app_minimum(minimum.clone()).await.expect("a minimum");
    let clear = async |platform: &str| registry.clear_app_minimum(platform).await.expect("a platform");
    assert_eq!(mine().await, []);
    assert!(!clear(&first).await, "there is none");

    let (old, new, other) = (minimum(&first, "1.9"), minimum(&first, "2.0.0"), minimum(&second, "7"));
    assert!(set(&other).await && set(&old).await);
    assert_eq!(mine().await, [old.clone(), other.clone()]);
    assert!(set(&new).await && set(&new).await, "setting it again sets it");
    assert_eq!(mine().await, [new, other.clone()]);

    assert!(clear(&first).await);
    assert_eq!(mine().await, [other]);
    assert!(clear(&second).await && !clear(&second).await);
    assert_eq!(mine().await, []);
}
