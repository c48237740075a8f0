//! Keys are made once, are nobody else's, and follow each other without a gap.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use super::rotate::rotate_until;
use super::*;

fn id_of(folder: &Path, name: &str) -> String {
    SigningKey::from_pem(&fs::read(folder.join(name)).unwrap()).unwrap().id().to_owned()
}

/// Those that would be believed, and the one that would sign.
fn opened(folder: &Path) -> (BTreeSet<String>, String) {
    let keys = Keys::open(folder).unwrap().signing;
    (keys.believed().map(|key| key.id().to_owned()).collect(), keys.id().to_owned())
}

fn in_an_hour() -> SystemTime {
    SystemTime::now() + ROTATION_AGE_MIN + Duration::from_secs(1)
}

#[test]
fn processes_that_start_at_once_get_the_same_keys() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Keys::open(folder.path()).unwrap().ids();
    let ids: Vec<KeyIds> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(ids[0].next.is_some() && ids[0].previous.is_none(), "a key to follow is there from the first start");
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_the_keys() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    Keys::open(folder.path()).unwrap();
    rotate(folder.path(), in_an_hour(), false).unwrap();
    for name in [SIGNING_KEY, NEXT_SIGNING_KEY, PREVIOUS_SIGNING_KEY, RECEIPT_KEY] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_damaged_key_is_an_error_and_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    Keys::open(folder.path()).unwrap();
    rotate(folder.path(), in_an_hour(), false).unwrap();
    let files = [SIGNING_KEY, NEXT_SIGNING_KEY, PREVIOUS_SIGNING_KEY, RECEIPT_KEY];
    for (name, content) in files.into_iter().zip(["not a key", "not a key", "", "short"]) {
        let path = folder.path().join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        assert!(matches!(Keys::open(folder.path()), Err(KeyError::Invalid(file)) if file == name));
        if name != RECEIPT_KEY {
            let error = rotate(folder.path(), in_an_hour(), true).unwrap_err();
            assert!(matches!(error, Unrotated::Keys(KeyError::Invalid(file)) if file == name), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn each_key_is_shown_signs_and_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    Keys::open(path).unwrap();
    let (first, second) = (id_of(path, SIGNING_KEY), id_of(path, NEXT_SIGNING_KEY));
    let done = rotate(path, in_an_hour(), false).unwrap();
    let third = id_of(path, NEXT_SIGNING_KEY);
    let expected =
        Rotated::Done { previous: first.clone(), current: second.clone(), next: third.clone(), forgotten: None };
    assert_eq!(done, expected);
    assert_eq!(opened(path), (BTreeSet::from([first.clone(), second.clone(), third.clone()]), second.clone()));
    match rotate(path, in_an_hour(), false).unwrap() {
        Rotated::Done { previous, current, forgotten, .. } => {
            assert_eq!((previous, current, forgotten), (second, third, Some(first.clone())));
        }
        other @ Rotated::Prepared { .. } => panic!("{other:?}"),
    }
    assert!(!opened(path).0.contains(&first));
}

#[test]
fn a_rotation_within_an_hour_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    Keys::open(path).unwrap();
    let before = opened(path);
    let made = fs::metadata(path.join(NEXT_SIGNING_KEY)).unwrap().modified().unwrap();
    for (at, minutes) in
        [(made, 0), (made + ROTATION_AGE_MIN - Duration::from_secs(1), 59), (SystemTime::UNIX_EPOCH, 0)]
    {
        let error = rotate(path, at, false).unwrap_err();
        assert!(error.to_string().contains(&format!("{minutes} minutes ago")), "{error}");
        assert_eq!(opened(path), before, "nothing was touched");
    }
    rotate(path, made + ROTATION_AGE_MIN, false).unwrap();
    assert!(matches!(rotate(path, SystemTime::now(), false), Err(Unrotated::Young(_))));
    rotate(path, SystemTime::now(), true).unwrap();
    let nowhere = tempfile::tempdir().unwrap();
    assert!(matches!(rotate(nowhere.path(), SystemTime::now(), true), Err(Unrotated::Nothing)));
}

#[test]
fn a_folder_without_a_next_key_gets_one_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    Keys::open(path).unwrap();
    fs::remove_file(path.join(NEXT_SIGNING_KEY)).unwrap();
    let (believed, signs) = opened(path);
    assert_eq!(believed.len(), 1, "opening it makes none: the folder may be mounted read-only");
    let prepared = rotate(path, in_an_hour(), false).unwrap();
    let next = id_of(path, NEXT_SIGNING_KEY);
    assert_eq!(prepared, Rotated::Prepared { current: signs.clone(), next: next.clone() });
    assert_eq!(opened(path), (BTreeSet::from([signs.clone(), next]), signs));
    assert!(matches!(rotate(path, SystemTime::now(), false), Err(Unrotated::Young(_))), "nodes have to get it");
}

#[test]
fn a_rotation_that_breaks_off_loses_no_key_and_is_completed() {
    for writes in 0..=3 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        Keys::open(path).unwrap();
        rotate(path, in_an_hour(), false).unwrap();
        let (signs, next) = (id_of(path, SIGNING_KEY), id_of(path, NEXT_SIGNING_KEY));
        rotate_until(path, in_an_hour(), false, writes).unwrap();
        let (believed, now) = opened(path);
        assert!(believed.contains(&signs) && believed.contains(&next), "after {writes}: {believed:?}");
        assert_eq!(now, if writes < 2 { &signs } else { &next }.clone(), "after {writes}");
        if writes == 3 {
            continue;
        }
        // What was begun is completed, and is one rotation in all.
        rotate(path, in_an_hour(), false).unwrap();
        let (believed, now) = opened(path);
        assert_eq!((now, believed.len()), (next, 3), "after {writes}");
        assert!(believed.contains(&signs), "after {writes}: {believed:?}");
    }
}

#[test]
fn whoever_reads_while_keys_are_rotated_misses_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    Keys::open(path).unwrap();
    rotate(path, in_an_hour(), true).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                // What signs when the reader begins, or begins to sign while it reads, is among what it has found.
                let before = id_of(path, SIGNING_KEY);
                let found = SigningKeys::read(path).unwrap().unwrap();
                let known = found.believed().any(|key| key.id() == before);
                // Two rotations within one reading lose it, as they may.
                let after = id_of(path, PREVIOUS_SIGNING_KEY);
                let again = id_of(path, SIGNING_KEY);
                assert!(known || before != after && before != again, "{before}");
                reads += 1;
            }
            reads
        });
        for _ in 0..50 {
            rotate(path, in_an_hour(), true).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}
