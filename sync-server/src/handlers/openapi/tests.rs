//! The description and the route table say the same, and the description is whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::router::{ROUTES, Route, Who};

fn description() -> Value {
    serde_json::from_str(&written().unwrap()).unwrap()
}

/// Operations by method and path.
fn operations(description: &Value) -> BTreeMap<(String, String), &Value> {
    let of_path = |(path, item): (&String, _)| {
        let item: &serde_json::Map<String, Value> = item;
        let methods: Vec<_> = item.iter().map(|(method, operation)| (method.to_uppercase(), operation)).collect();
        let path = path.clone();
        methods.into_iter().map(move |(method, operation)| ((method, path.clone()), operation)).collect::<Vec<_>>()
    };
    let paths = description["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| of_path((path, item.as_object().unwrap()))).collect()
}

/// What stands in the way of the description being that of the table.
fn differences(description: &Value, routes: &[Route]) -> Vec<String> {
    let described = operations(description);
    let there: BTreeSet<_> = routes.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    let name = |(method, path): &(String, String)| format!("{method} {path}");
    let mut differences: Vec<_> = Vec::new();
    differences.extend(
        there.iter().filter(|key| !described.contains_key(*key)).map(|key| format!("{} is not described", name(key))),
    );
    differences
        .extend(described.keys().filter(|key| !there.contains(*key)).map(|key| format!("{} is no route", name(key))));
    for route in routes {
        let Some(operation) = described.get(&(route.method.to_owned(), route.path.to_owned())) else { continue };
        let mut say = |what: &str| differences.push(format!("{} {} {what}", route.method, route.path));
        let answers = operation["responses"].as_object().unwrap();
        let mut due = vec!["405", "500"];
        if route.who != Who::Probe {
            due.extend(["400", "426", "429", "503"]);
        }
        if route.who == Who::Caller {
            due.push("401");
            if operation["security"] != serde_json::json!([{"token": []}]) {
                say("needs a token and does not say so");
            }
            if route.method != "GET" {
                due.extend(["409", "422"]);
            }
        }
        if route.path.contains('{') {
            due.push("404");
        }
        if operation.get("requestBody").is_some() {
            due.extend(["408", "413", "415"]);
        } else if ["PUT", "PATCH"].contains(&route.method) {
            say("takes a body and does not say which");
        }
        for status in due.into_iter().filter(|status| !answers.contains_key(*status)) {
            say(&format!("may answer {status} and does not say so"));
        }
        if !answers.keys().any(|status| status.starts_with(['1', '2', '3'])) {
            say("never goes well");
        }
        for part in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let named = |parameter: &Value| parameter["in"] == "path" && parameter["name"] == part;
            if !operation["parameters"].as_array().is_some_and(|all| all.iter().any(named)) {
                say(&format!("does not say what {part} is"));
            }
        }
    }
    differences
}

#[test]
fn the_description_is_that_of_the_route_table() {
    let description = description();
    assert_eq!(differences(&description, ROUTES), [""; 0]);

    // And what differs is found.
    assert_eq!(differences(&description, &ROUTES[1..]), ["POST /v1/sync is no route"]);
    let mut less = description.clone();
    less["paths"].as_object_mut().unwrap().remove("/v1/spaces/{id}/version");
    less["paths"]["/v1/sync"]["post"]["responses"].as_object_mut().unwrap().remove("413");
    less["paths"]["/v1/events"]["get"].as_object_mut().unwrap().remove("security");
    let expected = [
        "GET /v1/spaces/{id}/version is not described",
        "POST /v1/sync may answer 413 and does not say so",
        "GET /v1/events needs a token and does not say so",
    ];
    assert_eq!(differences(&less, ROUTES), expected);
}

fn visit(value: &Value, at: &str, see: &mut impl FnMut(&str, &str, &Value)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                see(at, name, value);
                visit(value, &format!("{at}/{}", name.replace('/', "~1")), see);
            }
        }
        Value::Array(values) => {
            for (n, value) in values.iter().enumerate() {
                see(at, &n.to_string(), value);
                visit(value, &format!("{at}/{n}"), see);
            }
        }
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_nothing_is_left_over() {
    let description = description();
    assert_eq!(description["openapi"], "3.1.0");
    let mut referred = BTreeSet::new();
    visit(&description, "", &mut |at, name, value| {
        if name == "$ref" {
            let reference = value.as_str().unwrap();
            let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{at}: {reference}"));
            assert!(description.pointer(pointer).is_some(), "{at}: {reference} leads nowhere");
            referred.insert(pointer.to_owned());
        }
    });
    for kind in ["schemas", "responses", "parameters", "headers"] {
        for name in description["components"][kind].as_object().unwrap().keys() {
            let pointer = format!("/components/{kind}/{name}");
            // Answers that no route has yet are there for those to come.
            assert!(referred.contains(&pointer) || kind == "responses", "{pointer} is referred to by nothing");
        }
    }
}

#[test]
fn every_answer_is_described_and_every_operation_has_a_name_of_its_own() {
    let description = description();
    let mut names = BTreeSet::new();
    for ((method, path), operation) in operations(&description) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} twice");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}: no summary");
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let answer = match answer["$ref"].as_str() {
                Some(reference) => description.pointer(&reference[1..]).unwrap(),
                None => answer,
            };
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}: {status}");
            assert!(answer["headers"]["X-Request-Id"].is_object(), "{method} {path}: {status}");
            if status.starts_with(['4', '5']) {
                // A form of its own is fine, such as RFC 6749's or a page; none is not.
                let of_type = |of: &str| answer["content"][of]["schema"].is_object();
                assert!(of_type("application/json") || of_type("text/html"), "{method} {path}: {status} says nothing");
            }
        }
    }
}

/// Links of the code's comments lead nowhere in the description of an API.
#[test]
fn no_description_has_a_link_of_the_code() {
    let mut texts = 0;
    visit(&description(), "", &mut |at, name, value| {
        let Some(text) = value.as_str() else { return };
        texts += usize::from(name == "description");
        assert!(!text.contains("[`") && !text.contains("`]"), "{at}/{name}: {text}");
        let led = text.split("](").skip(1).find(|target| !target.starts_with("https://"));
        assert_eq!(led, None, "{at}/{name}: {text}");
    });
    assert!(texts > 100, "{texts}");
    // And there are some to be found.
    assert!(Api::openapi().to_json().unwrap().contains("[`"));
}

#[test]
fn requests_are_strict_in_the_description_too() {
    let description = description();
    let mut unresolved: Vec<String> = Vec::new();
    for operation in operations(&description).values() {
        visit(&operation["requestBody"], "", &mut |_, name, value| {
            if name == "$ref" {
                unresolved.push(value.as_str().unwrap()[1..].to_owned());
            }
        });
    }
    let mut seen = BTreeSet::new();
    while let Some(pointer) = unresolved.pop() {
        if !seen.insert(pointer.clone()) {
            continue;
        }
        let schema = description.pointer(&pointer).unwrap();
        visit(&serde_json::json!({ "schema": schema }), "", &mut |at, name, value| {
            if name == "$ref" {
                unresolved.push(value.as_str().unwrap()[1..].to_owned());
            }
            if value.get("properties").is_some() {
                assert_eq!(value["additionalProperties"], false, "{pointer} {at}/{name} takes unknown fields");
            }
        });
    }
    assert!(seen.len() > 3, "{seen:?}");
}
