//! What the commands do. Each note is a document with a title and a text.

use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use sync_client_ffi::account::{AccountError, Standing};
use sync_client_ffi::{Client, Doc, DocId, SpaceId, SyncError, Trouble, Value};

use crate::login::Login;
use crate::{Access, Done, spaces};

/// The collection that notes are in.
pub const COLLECTION: &str = "notes";
/// How long a command waits for the network before it leaves the rest for later.
const PATIENCE: Duration = Duration::from_secs(5);
/// Characters of a note's text that the list shows.
const PREVIEW_CHARACTERS: usize = 40;

/// An open store.
pub struct App {
    /// The client.
    pub client: Client,
    /// The space that the notes are in.
    pub space: SpaceId,
    /// Who is signed in.
    pub login: Login,
}

impl App {
    /// Opens the store in a folder, for the notes of that space or the user's own.
    pub fn open(folder: &Path, access: &Access, space: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let login = Login::find(folder, access)?;
        std::fs::create_dir_all(folder)?;
        let client = login.client(folder).open()?;
        let space = match space {
            None => client.personal_space(),
            Some(named) => {
                let space = spaces::find(folder, login.account(), named)?.space;
                client.add_space(space)?;
                space
            }
        };
        Ok(Self { client, space, login })
    }

    /// All notes' ids, oldest first.
    pub fn ids(&self) -> Result<Vec<DocId>, Box<dyn Error>> {
        let mut ids: Vec<DocId> =
            self.client.documents(self.space, Some(COLLECTION))?.iter().map(|doc| doc.id).collect();
        // Ids begin with the time at which they were minted.
        ids.sort();
        Ok(ids)
    }

    /// The note whose id begins so.
    fn find(&self, beginning: &str) -> Result<Doc, Box<dyn Error>> {
        let beginning = beginning.to_lowercase();
        // The beginnings of ids are times, and alike; the ends are random. The list shows the ends.
        let matches = |id: &DocId| {
            let id = id.to_string();
            id.starts_with(&beginning) || id.ends_with(&beginning)
        };
        let found: Vec<DocId> = self.ids()?.into_iter().filter(matches).collect();
        match found.as_slice() {
            [id] => Ok(self.client.open_doc(self.space, *id)?),
            [] => Err(format!("there is no note {beginning} here: `list` shows them, `sync` fetches new ones").into()),
            _ => Err(format!("{} notes are called {beginning}: give more of the id", found.len()).into()),
        }
    }

    /// A new note.
    pub fn add(&self, title: &str, text: &str) -> Done {
        let note = self.client.create(self.space, COLLECTION)?;
        note.edit(|edit| {
            edit.put("title", title).put("text", Value::Text(text.to_owned()));
        })?;
        println!("{}", short(note.id()));
        self.exchange();
        Ok(())
    }

    /// Appends to a note's text or replaces it, and may change the title.
    pub fn edit(&self, id: &str, text: Option<&str>, replace: bool, title: Option<&str>) -> Done {
        let note = self.find(id)?;
        let text = match text {
            Some(text) => text.to_owned(),
            None if title.is_some() && !replace => String::new(),
            None => from_input()?,
        };
        // Where the text ends must not change between looking and writing.
        let hold = note.hold()?;
        let old = note.text("text")?.unwrap_or_default();
        let change = if replace { difference(&old, &text) } else { append(&old, &text) };
        note.edit(|edit| {
            if let Some(title) = title {
                edit.put("title", title);
            }
            if let Some((at, delete, insert)) = change {
                edit.splice("text", at, delete, insert);
            }
        })?;
        drop(hold);
        self.exchange();
        Ok(())
    }

    /// All notes, a line each.
    pub fn list(&self) -> Done {
        for id in self.ids()? {
            println!("{}", self.line(id)?);
        }
        Ok(())
    }

    /// A note in one line.
    pub fn line(&self, id: DocId) -> Result<String, Box<dyn Error>> {
        let note = self.client.open_doc(self.space, id)?;
        let text = note.text("text")?.unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        let preview: String = first.chars().take(PREVIEW_CHARACTERS).collect();
        let more = if preview.len() < text.trim_end().len() { "…" } else { "" };
        Ok(format!("{}  {}  {preview}{more}", short(id), title(&note)?))
    }

    /// A note in full.
    pub fn show(&self, id: &str) -> Done {
        let note = self.find(id)?;
        println!("# {}\n{}", title(&note)?, note.text("text")?.unwrap_or_default());
        Ok(())
    }

    /// Deletes a note.
    pub fn remove(&self, id: &str) -> Done {
        let note = self.find(id)?;
        self.client.delete(self.space, note.id())?;
        self.exchange();
        Ok(())
    }

    /// Exchanges with the server, and fails where that fails.
    pub fn sync(&self) -> Done {
        match self.client.sync_once(PATIENCE) {
            Ok(report) if report.more => Err("there was no time for all of it: `notes sync` goes on from here".into()),
            Ok(_) => {
                println!("everything is on {}; notes here: {}", self.server(), self.ids()?.len());
                Ok(())
            }
            Err(error) => Err(self.explain(error).into()),
        }
    }

    /// What is here, and what is not on the server yet.
    pub fn status(&self) -> Done {
        let pending = self.client.pending(self.space)?;
        println!("user     {}", self.client.user());
        println!("device   {}", self.client.device());
        println!("server   {}", self.server());
        if let Login::Session(refresher) = &self.login {
            println!("session  {}", refresher.standing());
        }
        println!("notes    {}", self.ids()?.len());
        let waiting = format!("{} edits and {} changes", pending.journal_edits, pending.outbox_changes);
        println!("waiting  {waiting} are on this device only");
        match self.client.sync_once(PATIENCE) {
            Ok(report) if report.more => println!("network  the server answers, there was no time for all of it"),
            Ok(_) => println!("network  the server answers, and has everything now"),
            Err(error) => println!("network  {}", self.explain(error)),
        }
        Ok(())
    }

    /// Exchanges with the server if that can be; if not, nothing is lost by it.
    fn exchange(&self) {
        if let Err(error) = self.client.sync_once(PATIENCE) {
            eprintln!("kept on this device for now: {}", self.explain(error));
        }
    }

    fn server(&self) -> String {
        self.login.server().unwrap_or_else(|| "(nobody is signed in)".to_owned())
    }

    fn explain(&self, error: SyncError) -> String {
        match error {
            SyncError::Offline => {
                format!("{} cannot be reached: is it running? What is here stays here", self.server())
            }
            SyncError::NoServer => "nobody is signed in: `notes login` sends it".to_owned(),
            SyncError::NeedsAuth if let Login::Session(refresher) = &self.login => match refresher.standing() {
                Standing::Ended(AccountError::SessionEnded) => {
                    format!("{} (`notes login`)", AccountError::SessionEnded)
                }
                standing => standing.to_string(),
            },
            SyncError::Trouble(Trouble::NoAccess) => {
                "everything else is exchanged, but of a space here you are no member \
                any more: what you had of it stays to be read, and what you write into it goes nowhere"
                    .to_owned()
            }
            SyncError::NeedsAuth => {
                "the server does not take the token: get a new one with `sync-server token --user … --device …` \
                 (the device that `notes status` shows) and log in again"
                    .to_owned()
            }
            other => other.to_string(),
        }
    }
}

/// What a person types to name a note: the end of its id, which is random.
pub fn short(id: DocId) -> String {
    let id = id.to_string();
    id[id.len() - 8..].to_owned()
}

fn title(note: &Doc) -> Result<String, Box<dyn Error>> {
    let title = note.get("title")?;
    Ok(title.as_ref().and_then(Value::as_str).unwrap_or("(untitled)").to_owned())
}

fn from_input() -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// A place, how much goes there, and what comes in its place.
type Change = Option<(u64, u64, String)>;

fn append(old: &str, text: &str) -> Change {
    let line_break = if old.is_empty() || old.ends_with('\n') { "" } else { "\n" };
    (!text.is_empty()).then(|| (old.chars().count() as u64, 0, format!("{line_break}{text}")))
}

/// The middle that differs: what is alike before and behind is not touched, so that it merges with what others write.
fn difference(old: &str, new: &str) -> Change {
    let (old, new): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
    let before = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old[before..].iter().rev().zip(new[before..].iter().rev());
    let behind = rest.take_while(|(old, new)| old == new).count();
    let insert: String = new[before..new.len() - behind].iter().collect();
    let delete = (old.len() - behind - before) as u64;
    (delete > 0 || !insert.is_empty()).then_some((before as u64, delete, insert))
}
