//! `notes` as a new user runs it, against a real server: every command is a process of its own.

use std::time::Duration;

use sync_client_ffi::account::{Credentials, CredentialsFile, Keychain};
use sync_core::wire::account::Private;
use sync_server::config::OAuthClient;
use sync_tests::notes::{Notes, PASSWORD};
use sync_tests::rig::{Rig, Seeded};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";
/// Kills of a process that renews its tokens.
const KILLS: u64 = 30;

/// A server without limits by address: all users here have the same.
fn server() -> Rig {
    Rig::with(|config| {
        config.limits.rules.clear();
        let (id, name) = ("notes".to_owned(), "Notes".to_owned());
        config.oauth.clients.push(OAuthClient { id, name, redirect_uris: Vec::new() });
    })
}

fn device(rig: &Rig, name: &str) -> Notes {
    Notes::new(rig.folder(), name, &rig.url())
}

#[test]
fn two_devices_of_one_user_and_one_is_lost() {
    let rig = server();
    let (laptop, phone) = (device(&rig, "laptop"), device(&rig, "phone"));
    assert!(laptop.run(&["list"]).failed().contains("login"), "it says what to do first");
    laptop.sign_up(ANN, "Ann");
    phone.login(ANN).fine();
    laptop.run(&["add", "Groceries", "--text", "milk"]).fine();
    let watching = phone.start(&["watch"]);
    watching.shows("Groceries  milk");
    let list = laptop.run(&["devices"]).fine();
    assert!(list.contains("laptop") && list.contains("this device"), "{list}");
    assert!(list.lines().any(|line| line.contains("phone") && line.contains("signed in")), "{list}");
    laptop.run(&["devices", "rename", "phone", "lost phone"]).fine();
    // Lost: cut off while it watches, and it is said on its screen.
    laptop.run(&["devices", "revoke", "lost phone"]).fine();
    watching.shows("this device was revoked");
    drop(watching);
    assert!(!laptop.run(&["devices"]).fine().contains("lost phone"));
    laptop.run(&["add", "Secret", "--text", "for the laptop"]).fine();
    // What was there stays readable, and what is written stays; nothing comes or goes.
    assert!(phone.run(&["sync"]).failed().contains("revoked"));
    let list = phone.run(&["list"]).fine();
    assert!(list.contains("Groceries") && !list.contains("Secret"), "{list}");
    let added = phone.run(&["add", "Late"]);
    assert!(added.err.contains("kept on this device") && added.fine, "{added:?}");
    // Signing in again in that folder says why not, and what instead; which works.
    let refused = phone.login(ANN).failed();
    assert!(refused.contains("revoked") && refused.contains("folder of its own"), "{refused}");
    let new = device(&rig, "new-phone");
    new.login(ANN).fine();
    new.run(&["sync"]).fine();
    let list = new.run(&["list"]).fine();
    assert!(list.contains("Secret") && !list.contains("Late"), "{list}");
}

#[test]
fn two_users_share_a_space_until_one_is_taken_out() {
    let rig = server();
    let (ann, bob, eve) = (device(&rig, "ann"), device(&rig, "bob"), device(&rig, "eve"));
    ann.sign_up(ANN, "Ann");
    bob.sign_up(BOB, "Bob");
    eve.sign_up("eve@example.com", "Eve");
    ann.run(&["add", "Diary"]).fine();
    assert!(ann.run(&["share"]).fine().contains("share create"));
    assert!(ann.run(&["share", "create", "Our home"]).fine().contains("share invite 'Our home'"));
    let invitation = ann.run(&["share", "invite", "our home", "--role", "writer"]).fine();
    let link = format!("https://app.example.com/join#{}", invitation.trim());
    bob.run(&["share", "join", &link]).fine();
    assert!(eve.run(&["share", "join", &link]).failed().contains("ask for a new one"));
    assert!(eve.run(&["--space", "Our home", "list"]).failed().contains("share create"));

    let (ann_there, bob_there) = (ann.within("Our home"), bob.within("Our home"));
    let watching = ann_there.start(&["watch"]);
    bob_there.run(&["add", "Plants", "--text", "water them"]).fine();
    watching.shows("Plants  water them");
    drop(watching);
    ann_there.run(&["sync"]).fine();
    let line = ann_there.run(&["list"]).fine();
    let id = line.split(' ').next().unwrap();
    ann_there.run(&["edit", id, "--text", "done"]).fine();
    bob_there.run(&["sync"]).fine();
    assert!(bob_there.run(&["show", id]).fine().contains("water them\ndone"));
    // One's own notes are one's own.
    assert!(!bob.run(&["list"]).fine().contains("Diary"));

    let members = ann.run(&["share", "members", "Our home"]).fine();
    assert_eq!(members.lines().count(), 2, "{members}");
    assert!(ann.run(&["share", "leave", "Our home"]).failed().contains("last owner"));
    let id_of =
        |role: &str| members.lines().find(|line| line.starts_with(role)).and_then(|line| line.split("  ").last());
    let (anns_id, bobs_id) = (id_of("owner").unwrap(), id_of("writer").unwrap());
    assert!(bob.run(&["share", "remove", "Our home", anns_id]).failed().contains("ask one of its owners"));
    ann.run(&["share", "remove", "Our home", bobs_id]).fine();
    ann_there.run(&["add", "Between us"]).fine();
    bob_there.run(&["sync"]);
    let list = bob_there.run(&["list"]).fine();
    assert!(list.contains("Plants") && !list.contains("Between us"), "{list}");
    assert_eq!(ann.run(&["share", "members", "Our home"]).fine().lines().count(), 1);
}

#[test]
fn logged_out_notes_stay_and_the_next_login_sends_them() {
    let rig = server();
    let (laptop, phone) = (device(&rig, "laptop"), device(&rig, "phone"));
    laptop.sign_up(ANN, "Ann");
    phone.login(ANN).fine();
    laptop.run(&["add", "Before"]).fine();
    phone.run(&["logout", "--all"]).fine();
    for device in [&laptop, &phone] {
        assert!(device.run(&["sync"]).failed().contains("login"), "it says what to do");
    }
    laptop.run(&["add", "Meanwhile"]).fine();
    assert!(laptop.run(&["list"]).fine().contains("Meanwhile"));
    // Somebody else does not get into this folder, and leaves no device behind.
    let bob = device(&rig, "bob");
    bob.sign_up(BOB, "Bob");
    assert!(laptop.login(BOB).failed().contains("folder of its own"));
    assert_eq!(bob.run(&["devices"]).fine().lines().count(), 1);
    laptop.login(ANN).fine();
    phone.login(ANN).fine();
    laptop.run(&["sync"]).fine();
    phone.run(&["sync"]).fine();
    assert!(phone.run(&["list"]).fine().contains("Meanwhile"));
    // They went on as the devices that they were.
    assert_eq!(laptop.run(&["devices"]).fine().lines().count(), 2);
}

#[test]
fn passwords_and_tokens_are_where_they_belong() {
    let rig = server();
    let laptop = device(&rig, "laptop");
    let said = laptop.sign_up(ANN, "Ann");
    assert!(!said.contains(PASSWORD) && !said.contains("rjr_"), "{said}");
    let path = laptop.folder().join("login.json");
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(!kept.contains(PASSWORD) && kept.contains("rjr_"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let other = device(&rig, "other");
    let wrong = other.run_with_password(&["login", "--email", ANN], "Wrong-Horse-77").failed();
    assert_eq!(other.run_with_password(&["login", "--email", "nobody@example.com"], PASSWORD).failed(), wrong);
    assert!(wrong.contains("sign up"), "{wrong}");
    let weak = other.run_with_password(&["signup", "--email", BOB, "--display-name", "Bob"], "short").failed();
    assert!(weak.contains("password") && weak.contains("12"), "{weak}");
    // Without a terminal nobody is asked, and nothing hangs.
    assert!(other.run(&["login", "--email", ANN]).failed().contains("--password-file"));
    // An address that is taken is not told from one that is free, but it is not taken over either.
    device(&rig, "bob").sign_up(BOB, "Bob");
    let taken = ["signup", "--email", BOB, "--display-name", "Eve"];
    let taken = other.run_with_password(&taken, "Other-Horse-88").failed();
    assert!(taken.contains("does not say"), "{taken}");
}

#[test]
fn a_device_without_a_keyboard_is_let_in() {
    let rig = server();
    let (laptop, tv) = (device(&rig, "laptop"), device(&rig, "tv"));
    laptop.sign_up(ANN, "Ann");
    laptop.run(&["add", "Groceries"]).fine();
    let waiting = tv.start(&["login", "--code"]);
    let line = waiting.shows("notes companion ");
    let code = line.split(' ').next_back().unwrap();
    laptop.run(&["companion", code]).fine();
    assert!(laptop.run(&["companion", code]).failed().contains("no device shows the code"));
    assert!(waiting.ends());
    tv.run(&["sync"]).fine();
    assert!(tv.run(&["list"]).fine().contains("Groceries"));
}

#[test]
fn kills_at_any_moment_of_a_renewal_log_nobody_out() {
    let rig = server();
    let laptop = device(&rig, "laptop");
    laptop.sign_up(ANN, "Ann");
    let file = CredentialsFile::new(laptop.folder().join("login.json"));
    let kept = || file.load().unwrap().unwrap();
    let spend = || file.save(&Credentials { access_expires_ms: 0, ..kept() }).unwrap();
    let mut seeded = Seeded::new("kills_at_any_moment_of_a_renewal");
    let first: Private = kept().refresh_token;
    for _ in 0..KILLS {
        // What is spent has to be renewed by the next command, which is killed while it does.
        spend();
        let mut command = laptop.command(&["sync"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(seeded.below(120)));
        command.kill().unwrap();
        command.wait().unwrap();
    }
    spend();
    laptop.run(&["sync"]).fine();
    assert_ne!(kept().refresh_token, first);
}
