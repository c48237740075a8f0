//! Export of everything that is here, in forms that other programs read: JSON, and automerge's own.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use serde::Serialize;
use sync_core::document::Document;
use sync_core::feed::{ChangeId, ItemKind};
use sync_core::id::{DocId, SpaceId};
use sync_core::limits::DOCUMENT_PAGE_MAX;

use super::access::{Quarantined, Reason};
use super::engine::{Engine, new_actor};
use super::error::ClientError;
use super::store::StoreError;
use super::{Client, lock};

/// The version of the form in which is exported, in `index.json`.
const FORMAT: u32 = 1;
/// What is not complete yet is called so.
const PARTIAL: &str = ".rejoin-partial";

/// How far an export has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportProgress {
    /// Documents that are written.
    pub documents: u64,
    /// Documents that there are, as far as was known when it began.
    pub total: u64,
}

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Spaces.
    pub spaces: u64,
    /// Documents.
    pub documents: u64,
    /// Documents that are damaged in the store: the index names them, and has nothing else of them.
    pub damaged: u64,
    /// Changes in quarantine.
    pub quarantined: u64,
}

/// An export that was not made. Nothing of it is left in its place.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something is there already.
    #[error("{folder} is there already: export to a folder that is not")]
    Exists {
        /// What was given.
        folder: PathBuf,
    },
    /// This client exports already.
    #[error("an export is under way: wait for its end, or stop it")]
    Busy,
    /// Whoever was told of the progress said so.
    #[error("the export was stopped; nothing of it is left")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The folder cannot be written.
    #[error("the export cannot be written: {0}")]
    Io(#[from] std::io::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Client(error.into())
    }
}

#[derive(Serialize)]
struct IndexedDocument<'a> {
    document: DocId,
    collection: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    automerge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

#[derive(Serialize)]
struct IndexedChange {
    n: u64,
    document: DocId,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    waits: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<String>,
}

impl Client {
    /// Writes everything that is here into a new folder: a folder a space, in it `DOCUMENT.json` and `DOCUMENT.automerge` (a
    /// plain save, which any automerge library loads) of each document, and as `quarantine/N.change` the bytes of each own
    /// change that did not take effect for others. `index.json` names them all, with collections and reasons. Deleted
    /// documents are not among it.
    ///
    /// The folder is there when all of it is on disk, and not before. One document at a time is in memory, and nobody's edit
    /// waits for more than a read of one. `progress` is called on this thread after each document, and stops the export with
    /// [`ControlFlow::Break`]. Edits that are made meanwhile may or may not be among it.
    ///
    /// ```no_run
    /// # use std::ops::ControlFlow;
    /// # fn f(client: &sync_client_ffi::Client) -> Result<(), sync_client_ffi::ExportError> {
    /// let report = client.export("backup", |progress| {
    ///     println!("{} of {}", progress.documents, progress.total);
    ///     ControlFlow::Continue(())
    /// })?;
    /// println!("{} documents", report.documents);
    /// # Ok(())
    /// # }
    /// ```
    pub fn export(
        &self,
        folder: impl AsRef<Path>,
        progress: impl FnMut(ExportProgress) -> ControlFlow<()>,
    ) -> Result<ExportReport, ExportError> {
        let folder = folder.as_ref();
        let Ok(_one) = self.shared.exporting.try_lock() else { return Err(ExportError::Busy) };
        if folder.symlink_metadata().is_ok() {
            return Err(ExportError::Exists { folder: folder.to_owned() });
        }
        let mut name = folder.as_os_str().to_owned();
        name.push(PARTIAL);
        let partial = Partial(PathBuf::from(name));
        partial.remove()?;
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::create_dir(&partial.0)?;
        let report = Export { client: self, root: &partial.0, report: ExportReport::default(), progress }.run()?;
        if folder.symlink_metadata().is_ok() {
            return Err(ExportError::Exists { folder: folder.to_owned() });
        }
        fs::rename(&partial.0, folder)?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        Ok(report)
    }
}

/// Removed unless it was given its name.
struct Partial(PathBuf);

impl Partial {
    fn remove(&self) -> std::io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(%error, "a part of an export is left");
        }
    }
}

/// So that the names in a folder are on disk. Not every system has this.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

struct Export<'c, P> {
    client: &'c Client,
    root: &'c Path,
    report: ExportReport,
    progress: P,
}

impl<P: FnMut(ExportProgress) -> ControlFlow<()>> Export<'_, P> {
    fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.client.shared.engine)
    }

    fn run(mut self) -> Result<ExportReport, ExportError> {
        let (user, device, spaces) = {
            let engine = self.engine();
            engine.is_open()?;
            (engine.user.clone(), engine.device, engine.spaces.keys().copied().collect::<Vec<_>>())
        };
        let mut total = 0;
        for space in &spaces {
            total += self.engine().store.read().count_documents(*space)?;
        }
        // Written as it goes: of what may be long, nothing is held.
        let mut index = BufWriter::new(File::create(self.root.join("index.json"))?);
        write!(index, "{{\"format\":{FORMAT},\"user\":{},\"device\":{},\"spaces\":[", text(&user)?, text(&device)?)?;
        for (place, space) in spaces.into_iter().enumerate() {
            comma(&mut index, place)?;
            self.space(&mut index, space, total)?;
        }
        index.write_all(b"]}\n")?;
        index.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        sync_folder(self.root)?;
        Ok(self.report)
    }

    fn space(&mut self, index: &mut impl Write, space: SpaceId, total: u64) -> Result<(), ExportError> {
        let folder = self.root.join(space.to_string());
        fs::create_dir(&folder)?;
        let (access, quarantine) = {
            let mut engine = self.engine();
            let quarantine = engine.quarantine(space)?;
            (!engine.is_barred(space)?, quarantine)
        };
        write!(index, "\n{{\"space\":{},\"access\":{access},\"documents\":[", text(&space)?)?;
        let (mut after, mut place) = (None, 0);
        loop {
            let page = self.client.document_page(space, None, after, DOCUMENT_PAGE_MAX)?;
            for info in page.documents {
                comma(index, place)?;
                place += 1;
                self.document(index, &folder, space, info.id, &info.collection)?;
                let progress = ExportProgress { documents: self.report.documents, total };
                if (self.progress)(progress).is_break() {
                    return Err(ExportError::Stopped);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        index.write_all(b"],\"quarantine\":[")?;
        if !quarantine.is_empty() {
            fs::create_dir(folder.join("quarantine"))?;
        }
        for (place, change) in quarantine.into_iter().enumerate() {
            comma(index, place)?;
            self.change(index, &folder, space, change)?;
        }
        index.write_all(b"]}")?;
        sync_folder(&folder)?;
        self.report.spaces += 1;
        Ok(())
    }

    fn document(
        &mut self,
        index: &mut impl Write,
        folder: &Path,
        space: SpaceId,
        doc: DocId,
        collection: &str,
    ) -> Result<(), ExportError> {
        let stored = {
            let mut engine = self.engine();
            match engine.seal(space, Some(doc)) {
                Ok(()) | Err(ClientError::Corrupt) => {}
                Err(error) => return Err(error.into()),
            }
            let changes = engine.store.read().changes(space, doc, engine.feed_of(space)?, 0)?;
            let snapshot = engine.snapshot(space, doc)?.map(|(_, bytes)| bytes);
            (snapshot, changes, new_actor(engine.device))
        };
        // Outside of the lock: it takes its time.
        let (snapshot, changes, actor) = stored;
        let loaded = Document::load(actor, snapshot.as_deref(), &changes.payloads).ok();
        let read = loaded
            .and_then(|(document, _)| Some((document.json(sync_core::value::Path::root())?, document.save().ok()?)));
        drop(changes);
        let mut entry = IndexedDocument { document: doc, collection, json: None, automerge: None, error: None };
        if let Some((json, save)) = read {
            let (json_name, save_name) = (format!("{doc}.json"), format!("{doc}.automerge"));
            write_whole(&folder.join(&json_name), json.as_bytes())?;
            write_whole(&folder.join(&save_name), &save)?;
            entry.json = Some(format!("{space}/{json_name}"));
            entry.automerge = Some(format!("{space}/{save_name}"));
            self.report.documents += 1;
        } else {
            entry.error = Some("damaged");
            self.report.damaged += 1;
        }
        Ok(write_json(index, &entry)?)
    }

    fn change(
        &mut self,
        index: &mut impl Write,
        folder: &Path,
        space: SpaceId,
        change: Quarantined,
    ) -> Result<(), ExportError> {
        let Quarantined { n, device, doc, reason, waits, .. } = change;
        let id = ChangeId { device, n };
        let kind = self.engine().store.read().kind(space, id)?;
        let payload = match kind {
            Some(ItemKind::Change) => self.engine().store.read().payload(space, id)?,
            _ => None,
        };
        let name = payload.is_some().then(|| format!("quarantine/{n}.change"));
        if let (Some(payload), Some(name)) = (payload, &name) {
            write_whole(&folder.join(name), &payload)?;
        }
        let (reason, code) = match reason {
            Reason::NoAccess => ("no_access", None),
            Reason::Refused(code) => ("refused", Some(code.as_str().to_owned())),
        };
        let change = name.map(|name| format!("{space}/{name}"));
        write_json(index, &IndexedChange { n, document: doc, reason, code, waits, change })?;
        self.report.quarantined += 1;
        Ok(())
    }
}

fn text(value: &impl Serialize) -> std::io::Result<String> {
    Ok(serde_json::to_string(value)?)
}

fn comma(out: &mut impl Write, place: usize) -> std::io::Result<()> {
    if place > 0 { out.write_all(b",") } else { Ok(()) }
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    out.write_all(b"\n")?;
    Ok(serde_json::to_writer(out, value)?)
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
