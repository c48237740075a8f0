//! Requests are strict, at every depth: what the derived schemas leave open about that is closed here.

use std::collections::BTreeSet;

use sync_core::wire::SCHEMA;
use utoipa::Modify;
use utoipa::openapi::schema::{AdditionalProperties, AllOf, ArrayItems, Object, Schema, Type};
use utoipa::openapi::{OpenApi, Ref, RefOr};

use super::common::operation;
use crate::router::ROUTES;

/// Closes it.
pub(super) struct Strict;

impl Modify for Strict {
    fn modify(&self, openapi: &mut OpenApi) {
        let mut waiting = Vec::new();
        for route in ROUTES {
            let Some(operation) = operation(openapi, route) else { continue };
            let Some(RefOr::T(body)) = &mut operation.request_body else { continue };
            for content in body.content.values_mut() {
                if let RefOr::T(content) = content
                    && let Some(schema) = &mut content.schema
                {
                    close(schema, &mut waiting);
                }
            }
        }
        // Each is looked at once, so frames may nest in circles.
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let schemas = openapi.components.as_mut().map(|components| &mut components.schemas);
            if let Some(schema) = schemas.and_then(|schemas| schemas.get_mut(&name))
                && seen.insert(name)
            {
                close(schema, &mut waiting);
            }
        }
    }
}

/// Closes a schema, and gives the names of those that it refers to.
fn close(schema: &mut RefOr<Schema>, waiting: &mut Vec<String>) {
    // Closed, neither part of two would leave room for the other: what was flattened in the type is flattened here.
    if let RefOr::T(Schema::AllOf(parts)) = schema
        && let Some(whole) = flat(parts)
    {
        *schema = RefOr::T(Schema::Object(whole));
    }
    match schema {
        RefOr::Ref(Ref { ref_location, .. }) => {
            waiting.extend(ref_location.strip_prefix("#/components/schemas/").map(str::to_owned));
        }
        RefOr::T(Schema::Object(object)) => close_object(object, waiting),
        RefOr::T(Schema::Array(array)) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                close(items, waiting);
            }
        }
        RefOr::T(Schema::OneOf(some)) => some.items.iter_mut().for_each(|schema| close(schema, waiting)),
        RefOr::T(Schema::AnyOf(some)) => some.items.iter_mut().for_each(|schema| close(schema, waiting)),
        RefOr::T(_) => {}
    }
}

/// One object of several, if they are written out.
fn flat(parts: &AllOf) -> Option<Object> {
    let mut whole = Object::with_type(Type::Object);
    whole.description.clone_from(&parts.description);
    for part in &parts.items {
        let part = match part {
            RefOr::T(Schema::Object(part)) => part.clone(),
            RefOr::T(Schema::AllOf(parts)) => flat(parts)?,
            _ => return None,
        };
        whole.properties.extend(part.properties);
        whole.required.extend(part.required);
    }
    Some(whole)
}

fn close_object(object: &mut Object, waiting: &mut Vec<String>) {
    if !object.properties.is_empty() && object.additional_properties.is_none() {
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
    // The first field of every frame.
    if let Some(RefOr::T(Schema::Object(version))) = object.properties.get_mut("schema") {
        let only = usize::from(SCHEMA);
        version.minimum = Some(utoipa::Number::UInt(only));
        version.maximum = Some(utoipa::Number::UInt(only));
        version.description = Some("The version of the frames.".to_owned());
    }
    object.properties.values_mut().for_each(|schema| close(schema, waiting));
}
