//! The description of the REST API and the server say the same.
//!
//! Every answer that these tests get is looked up in the description, so that nothing is answered
//! that it does not have; and everything that it has is asked for.

use serde_json::Value;

use super::{House, send};

const DESCRIPTION: &str = include_str!("../../../../../docs/openapi.json");

const METHODS: [&str; 5] = ["get", "head", "post", "put", "patch"];

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).expect("JSON")
}

/// Whether a path is one of a template's.
fn is_of(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    let fits = |(part, given): (&&str, &&str)| match part.split_once('{') {
        None => part.eq_ignore_ascii_case(given),
        Some((_, rest)) => {
            let end = rest.split_once('}').map_or("", |(_, end)| end);
            let named = given.get(..given.len().saturating_sub(end.len()));
            let is_name = named.is_some_and(|name| !name.is_empty() && !name.contains(':'));
            is_name && given[named.map_or(0, str::len)..].eq_ignore_ascii_case(end)
        }
    };
    template.len() == path.len() && template.iter().zip(&path).all(fits)
}

/// The description of what is answered at `path`; the most literal template counts.
fn operation<'d>(description: &'d Value, method: &str, path: &str) -> Option<&'d Value> {
    let path = path.split('?').next().unwrap_or(path);
    let paths = description["paths"].as_object().expect("paths");
    let found = paths.iter().filter(|(template, _)| is_of(template, path));
    let (_, item) = found.min_by_key(|(template, _)| template.matches('{').count())?;
    let method = method.to_ascii_lowercase();
    let method = if method == "head" { "get" } else { &method };
    item.get(method)
}

/// Checks that the description has this answer.
pub(super) fn check(method: &str, path: &str, status: u16) {
    let description = description();
    let Some(operation) = operation(&description, method, path) else {
        assert!(
            status >= 400,
            "{method} {path}: {status}, but it is not in docs/openapi.json"
        );
        return;
    };
    // The public ports do not know the orders of the admin port.
    let is_elsewhere = path.starts_with("/admin/") && status == 404;
    let statuses = operation["responses"].as_object().expect("responses");
    assert!(
        is_elsewhere || statuses.contains_key(&status.to_string()),
        "{method} {path}: docs/openapi.json does not have {status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_described_is_answered() {
    let house = House::open().await;
    let description = description();
    let mut asked = 0;
    for (template, item) in description["paths"].as_object().expect("paths") {
        let is_order = template.starts_with("/admin/");
        assert_eq!(item.get("servers").is_some(), is_order, "{template}");
        let path = [("model", "pair"), ("version", "1"), ("label", "stable")]
            .iter()
            .chain(&[("repository", "any"), ("region", "any")])
            .fold(template.clone(), |path, (name, value)| {
                path.replace(&format!("{{{name}}}"), value)
            });
        for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
            let address = if is_order { house.admin } else { house.address };
            let method = method.to_ascii_uppercase();
            let reply = send(address, &method, (&path, &[]), b"{}").await;
            let text = reply.text();
            let nothing = ["Not Found\"", "no such order", "Malformed request"];
            let is_nothing = nothing.iter().any(|words| text.contains(words));
            assert!(
                reply.status != 405 && !is_nothing,
                "{method} {path}: {text}"
            );
            asked += 1;
        }
    }
    assert!(asked > 60, "{asked}");
}

#[test]
fn references_lead_somewhere_and_names_are_given_once() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(to) if name == "$ref" => found.push(to.to_owned()),
                        _ => references(member, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let description = description();
    let mut found = Vec::new();
    references(&description, &mut found);
    for reference in &found {
        let pointer = reference.trim_start_matches('#');
        assert!(description.pointer(pointer).is_some(), "{reference}");
    }
    let items = description["paths"].as_object().expect("paths").values();
    let operations = items.flat_map(|item| METHODS.iter().filter_map(|method| item.get(method)));
    let mut names: Vec<&str> = operations
        .filter_map(|one| one["operationId"].as_str())
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn templates_are_matched() {
    assert!(is_of("/v1/models/{model}:predict", "/v1/models/m:predict"));
    assert!(!is_of("/v1/models/{model}", "/v1/models/m:predict"));
    assert!(!is_of("/v1/models/{model}:predict", "/v1/models/:predict"));
    assert!(!is_of("/v2/models/{model}", "/v2/models/a/b"));
}
