//! The report of a run is one file that needs no other, and is HTML.

use crate::support::Place;

/// What a page loads, or leads to, something else with. Names of XML namespaces load nothing.
const OUTSIDE: [&str; 10] = [
    "http:",
    "https:",
    "=\"//",
    "<link",
    "<script src",
    "<iframe",
    "<object",
    "@import",
    "url(",
    "src=\"",
];

#[test]
fn the_report_needs_nothing_else() {
    let place = Place::new();
    let settings = ["data=digits", "model=mlp-small", "epochs=2", "test=0.2"];
    place.json(
        "train",
        &[&["train"], &settings[..], &["name=run"]].concat(),
    );
    let html = String::from_utf8(place.read("runs/run/report.html")).expect("UTF-8");
    let harmless = ["http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"];
    let text = harmless
        .iter()
        .fold(html.clone(), |text, name| text.replace(name, ""));
    // Pictures and clip paths within the page are nothing outside.
    let text = text.replace("src=\"data:image/", "").replace("url(#", "");
    for mark in OUTSIDE {
        let place = text
            .find(mark)
            .map(|at| text[at..].chars().take(60).collect::<String>());
        assert_eq!(place, None, "`{mark}` leads outside");
    }
    assert!(html.starts_with("<!doctype html>") || html.starts_with("<!DOCTYPE html>"));
    assert!(html.contains("<svg"), "curves are drawn");
    place.witness(&["report", "runs/run/report.html"]);
}
