//! A store that another process writes: read again whenever it has changed, and never written.

use std::collections::BTreeMap;

use super::{Engine, OpenDocument, Result, Space};
use crate::client::error::ClientError;
use crate::client::store::StoreError;

/// Why what is in memory cannot be brought to where the disk is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stale {
    /// The app was updated, and has brought the store to a version that this library does not know.
    Newer(u32),
    /// The disk failed, or the file is being replaced.
    Failed,
}

impl Engine {
    pub(in crate::client) fn is_read_only(&self) -> bool {
        self.store.is_read_only()
    }

    /// Whatever the writer has committed by now is seen by what is read next. No lock is held on the file in between: an
    /// operating system kills an app that is put to sleep with one.
    pub(in crate::client) fn refresh(&mut self) {
        if self.is_read_only() {
            self.stale = self.read_anew().err();
        }
    }

    fn read_anew(&mut self) -> std::result::Result<(), Stale> {
        let failed = |error: StoreError| {
            tracing::warn!(%error, "the store could not be read");
            Stale::Failed
        };
        let version = self.store.data_version().map_err(failed)?;
        if self.seen == Some(version) && self.stale.is_none() {
            return Ok(());
        }
        if let Some(found) = self.store.other_schema().map_err(failed)? {
            return Err(Stale::Newer(found));
        }
        self.store.begin_reading().map_err(failed)?;
        let read = self.read_spaces();
        self.store.end_reading();
        read.map_err(|error| {
            tracing::warn!(%error, "the store could not be read");
            Stale::Failed
        })?;
        for open in self.documents.values_mut() {
            // What a hold shows is what it is there for.
            if open.holds == 0 {
                *open = OpenDocument::default();
            }
        }
        self.seen = Some(version);
        self.turns += 1;
        Ok(())
    }

    /// What the disk has of spaces, in place of what is in memory.
    pub(super) fn read_spaces(&mut self) -> Result<()> {
        let mut spaces = BTreeMap::new();
        for (space, row) in self.store.read().spaces()? {
            let mut state = Space::new(row);
            state.regaining = self.store.read().removed(space)?.is_some();
            (state.base, state.held) = self.store.read().catch_up(space)?;
            state.held_version = self.store.read().held_version(space)?;
            state.base_on_disk = state.base;
            state.feeds = self.store.read().feeds(space)?;
            let journals = self.store.read().open_journals(space)?;
            state.journals_opened = journals.last().map_or(0, |(_, opened)| *opened);
            state.journals = journals.into_iter().map(|(doc, _)| doc).collect();
            spaces.insert(space, state);
        }
        for space in self.store.read().barred()? {
            if let Some(state) = spaces.get_mut(&space) {
                state.barred = true;
            }
        }
        for (space, label) in self.store.read().healing()? {
            if let Some(state) = spaces.get_mut(&space) {
                state.label = Some(label);
            }
        }
        self.spaces = spaces;
        Ok(())
    }

    /// The number of what was read last.
    pub(in crate::client) fn seen(&self) -> Option<u64> {
        self.seen
    }

    pub(super) fn check_fresh(&self) -> Result<()> {
        match self.stale {
            None => Ok(()),
            Some(Stale::Newer(found)) => Err(ClientError::StoreNewer(found)),
            Some(Stale::Failed) => Err(ClientError::Store(StoreError::Unreadable)),
        }
    }

    pub(in crate::client) fn check_writable(&self) -> Result<()> {
        self.is_open()?;
        if self.is_read_only() { Err(ClientError::ReadOnly) } else { Ok(()) }
    }
}
