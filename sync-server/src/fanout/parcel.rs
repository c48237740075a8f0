//! A notice on its way to many receivers: encoded at most once for all of them but its authors.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use sync_core::feed::Body;
use sync_core::id::{DeviceId, SpaceId};
use sync_core::log::{Cursor, Header, Verdict};
use sync_core::wire::{self, Entries, LiveResponse, Page, PageEntry, Times};

use crate::bus::{ENTRY_BYTES, Notice};

/// What is shared by all receivers of a notice.
#[derive(Debug)]
pub(crate) struct Parcel {
    notice: Notice,
    bytes: usize,
    heard_at: Instant,
    frame: OnceLock<Option<Bytes>>,
}

impl Parcel {
    /// Around a notice that carries its entries.
    pub(crate) fn new(notice: Notice) -> Self {
        let entries = notice.entries.as_ref().map_or(&[][..], |entries| &entries.0);
        let payload = entries.iter().map(|entry| entry.body.as_ref().map_or(0, Body::payload_bytes));
        // The payloads, and the same again in the frame.
        let bytes = size_of::<Self>() + entries.len() * ENTRY_BYTES + 2 * payload.sum::<usize>();
        Self { notice, bytes, heard_at: Instant::now(), frame: OnceLock::new() }
    }

    /// When this node heard of it.
    pub(crate) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    pub(crate) fn space(&self) -> SpaceId {
        self.notice.space
    }

    pub(crate) fn from(&self) -> Cursor {
        self.notice.from
    }

    pub(crate) fn next(&self) -> Cursor {
        self.notice.next
    }

    /// What it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the notice carries its entries; where not, they are in the log alone.
    pub(crate) fn is_whole(&self) -> bool {
        self.notice.entries.is_some()
    }

    fn entries(&self) -> &[PageEntry] {
        self.notice.entries.as_ref().map_or(&[], |entries| &entries.0)
    }

    /// Whether that device wrote any of it.
    pub(crate) fn is_by(&self, device: DeviceId) -> bool {
        self.entries().iter().any(|entry| entry.id.device == device)
    }

    /// The frame for that device; `None` if it cannot be written. All but the authors get the same one: who asks while it is
    /// being encoded waits for that.
    pub(crate) fn frame(&self, device: DeviceId) -> Option<Bytes> {
        let encode = || {
            let frame = LiveResponse::Page { space: self.space(), page: self.page(device) };
            wire::encode(&frame).ok().map(Bytes::from)
        };
        if self.is_by(device) { encode() } else { self.frame.get_or_init(encode).clone() }
    }

    /// The page, for that device.
    pub(crate) fn page(&self, device: DeviceId) -> Page {
        page(&[self], device)
    }
}

/// Parcels that follow each other as one page, without what the reader has of itself.
pub(crate) fn merged(parcels: &[Arc<Parcel>], reader: DeviceId) -> Option<Page> {
    let parcels: Vec<&Parcel> = parcels.iter().map(|parcel| &**parcel).collect();
    if parcels.is_empty() { None } else { Some(page(&parcels, reader)) }
}

/// There is at least one.
fn page(parcels: &[&Parcel], reader: DeviceId) -> Page {
    let last = &parcels[parcels.len() - 1].notice;
    // Where one of them does not say when it was, the page does not either.
    let received = parcels.iter().map(|parcel| Some((parcel.entries().len(), parcel.notice.received_ms?)));
    let received: Option<Vec<_>> = received.collect();
    let times =
        received.map(|all| Times::of_ms(all.into_iter().flat_map(|(count, at)| std::iter::repeat_n(at, count))));
    let entries = parcels.iter().flat_map(|parcel| parcel.entries());
    let entries = entries.map(|entry| for_reader(entry, reader)).collect();
    Page {
        entries: Entries(entries),
        next: last.next,
        more: false,
        receipt: last.receipt,
        version: None,
        snapshots: Vec::new(),
        times,
    }
}

/// A reader has what it wrote, unless it was refused.
fn for_reader(entry: &PageEntry, reader: DeviceId) -> PageEntry {
    let PageEntry { id, kind, doc, verdict, hash, .. } = *entry;
    match hash {
        Some(hash) if id.device == reader && verdict == Verdict::Applied => {
            PageEntry::own(&Header { id, kind, doc, hash, verdict })
        }
        _ => entry.clone(),
    }
}
