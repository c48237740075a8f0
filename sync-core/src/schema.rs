//! Schemas of what serde writes by hand: ids, hashes, bytes, runs and entries, in the form that JSON has them.

use std::borrow::Cow;

use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::id::{DeviceId, DocId, Hash, SpaceId};
use crate::version::{FeedHeadRow, FeedHeads};
use crate::wire::Entries;

type Named = (String, RefOr<Schema>);

macro_rules! named {
    ($($name:ident)*) => {$(
        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )*};
}

/// A UUID with its dashes.
fn uuid(description: &str) -> RefOr<Schema> {
    let format = Some(SchemaFormat::KnownFormat(KnownFormat::Uuid));
    ObjectBuilder::new().schema_type(Type::String).format(format).description(Some(description)).into()
}

macro_rules! uuids {
    ($($name:ident $description:literal,)*) => {
        named!($($name)*);
        $(impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                uuid($description)
            }
        })*
    };
}

uuids! {
    SpaceId "A space: the unit of sharing, ordering and permission.",
    DocId "A document of a space.",
    DeviceId "One installation of an app for one user.",
}

named!(Hash);

impl PartialSchema for Hash {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9a-fA-F]{64}$"));
        text.description(Some("A SHA-256 value in hexadecimal; 32 bytes in msgpack.")).into()
    }
}

impl PartialSchema for FeedHeads {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new().items(Ref::from_schema_name(FeedHeadRow::name())).into()
    }
}

impl ToSchema for FeedHeads {
    fn schemas(schemas: &mut Vec<Named>) {
        schemas.push((FeedHeadRow::name().into(), FeedHeadRow::schema()));
        FeedHeadRow::schemas(schemas);
    }
}

impl PartialSchema for Entries {
    fn schema() -> RefOr<Schema> {
        let description = "Entries in log order; in msgpack packed into one body.";
        let items = Ref::from_schema_name(Self::entry().0);
        ArrayBuilder::new().items(items).description(Some(description)).into()
    }
}

impl ToSchema for Entries {
    fn schemas(schemas: &mut Vec<Named>) {
        schemas.push(Self::entry());
        Self::schemas_of_entry(schemas);
    }
}
