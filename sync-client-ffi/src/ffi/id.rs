//! Ids cross as text, and arrive as the UUID type of each language.

use sync_core::id::{DeviceId, DocId, SpaceId};

macro_rules! uuid_id {
    ($($name:ident),*) => {
        $(uniffi::custom_type!($name, String, {
            remote,
            lower: |id| id.to_string(),
            try_lift: |text| Ok(text.parse()?),
        });)*
    };
}

uuid_id!(SpaceId, DocId, DeviceId);
