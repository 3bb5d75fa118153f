//! What a variable changes in a stack: a pure comparison of configurations that compose resolved with marked values.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::PinnedImage;
use crate::engine::compose::project::repository;
use crate::engine::compose::project::same_repository;

/// The marker for pin number `index` while compose resolves the stack; it looks like a real pin. `run` distinguishes two resolutions.
pub(super) fn marker(run: u8, index: usize) -> String {
    format!("tagalong-{run}-{index}@sha256:{run:032x}{index:032x}")
}

/// `value` with the markers of `run` replaced by ones that no run has, so that two runs can be compared.
pub(super) fn without_markers(value: &Value, run: u8, pins: usize) -> Value {
    match value {
        Value::String(text) if text.contains(&format!("tagalong-{run}-")) => {
            Value::String((0..pins).fold(text.clone(), |text, index| text.replace(&marker(run, index), &format!("\u{0}{index}"))))
        }
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), without_markers(value, run, pins))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| without_markers(item, run, pins)).collect()),
        other => other.clone(),
    }
}

/// Why the variable of `pin` would change more or less than the image of the services that use it; none: it changes exactly that.
pub(super) fn objection(config: &Value, pin: &PinnedImage, marker: &str) -> Option<String> {
    let variable = pin.variable.as_deref().unwrap_or_default();
    let mut exact = 0_usize;
    let mut elsewhere = Vec::new();
    let mut without = Vec::new();
    leaves(config, "", &mut |path, leaf| {
        // A fragment that anchors copy from: its copies are judged.
        if path.starts_with("x-") {
            return;
        }
        let image = path.strip_prefix("services.").and_then(|rest| rest.strip_suffix(".image")).filter(|name| !name.contains('.'));
        let is_marked = leaf.contains(marker) || path.contains(marker);
        let is_ours = image.is_some() && same_repository(repository(leaf), pin.image.as_str());
        let is_exact =
            is_ours && leaf.strip_suffix(marker).is_some_and(|rest| rest.strip_suffix(':').is_some_and(|name| !name.contains('@')));
        match (is_marked, is_ours, is_exact) {
            (_, _, true) => exact += 1,
            (true, ..) => elsewhere.push(shape(path, leaf, marker, variable)),
            (false, true, _) => without.push(format!("{path} is {leaf}")),
            (false, false, _) => {}
        }
    });
    if let Some(first) = elsewhere.first() {
        return Some(format!("the variable {variable} changes more than the image: {first}{}", more(elsewhere.len())));
    }
    if let Some(first) = without.first() {
        return Some(format!("{first}, which does not use the variable {variable}{}", more(without.len())));
    }
    (exact == 0).then(|| format!("no service has the image {}:${{{variable}}}", pin.image))
}

/// Whether anything of `config` follows the variable that `marker` stands for.
pub(super) fn is_used(config: &Value, marker: &str) -> bool {
    let mut found = false;
    leaves(config, "", &mut |path, leaf| found |= leaf.contains(marker) || path.contains(marker));
    found
}

fn shape(path: &str, leaf: &str, marker: &str, variable: &str) -> String {
    let is_secret = path.contains(".environment.") || path.contains(".args.") || path.ends_with(".content");
    if is_secret { path.to_owned() } else { format!("{path} is {}", leaf.replace(marker, &format!("${{{variable}}}"))) }
}

fn more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

/// Gives every text, number and truth value to `each`, with its path.
pub(super) fn leaves(value: &Value, path: &str, each: &mut impl FnMut(&str, &str)) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| leaves(value, &below(name), each)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| leaves(item, &below(&index.to_string()), each)),
        Value::String(text) => each(path, text),
        Value::Null => {}
        other => each(path, &other.to_string()),
    }
}

/// Where what a hand-run resolves (`hand`) is not what we resolve (`ours`, with every profile on): the first path, none
/// where they agree. Images of `pinned` services may differ, since the pin itself is in one of them.
pub(super) fn difference(hand: &Value, ours: &Value, pinned: &BTreeSet<String>) -> Option<String> {
    let services = |config: &Value| config.get("services").and_then(Value::as_object).cloned().unwrap_or_default();
    let by_hand = services(hand);
    let by_us = services(ours);
    for (name, service) in &by_hand {
        let Some(other) = by_us.get(name) else { return Some(format!("services.{name}")) };
        let skip = if pinned.contains(name) { "image" } else { "" };
        if let Some(path) = first_difference(service, other, &format!("services.{name}"), skip) {
            return Some(path);
        }
    }
    ["networks", "volumes", "configs", "secrets"].iter().find_map(|section| {
        let of = |config: &Value| config.get(section).and_then(Value::as_object).cloned().unwrap_or_default();
        let other = of(ours);
        of(hand)
            .iter()
            .find_map(|(name, value)| first_difference(value, other.get(name).unwrap_or(&Value::Null), &format!("{section}.{name}"), ""))
    })
}

fn first_difference(one: &Value, other: &Value, path: &str, skip: &str) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).filter(|name| *name != skip).collect();
            names.into_iter().find_map(|name| {
                let at = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or(Value::Null);
                first_difference(&at(one), &at(other), &format!("{path}.{name}"), "")
            })
        }
        (one, other) => (one != other).then(|| path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use serde_json::json;

    use crate::config::PinnedImage;
    use crate::engine::compose::proof::difference;
    use crate::engine::compose::proof::marker;
    use crate::engine::compose::proof::objection;
    use crate::engine::compose::proof::without_markers;
    use crate::model::ImageRef;
    use crate::model::Repository;

    fn said(services: &Value) -> Option<String> {
        let pin = PinnedImage { image: Repository::parse("acme/web").unwrap(), variable: Some("T".into()) };
        objection(&json!({"name": "x", "services": services}), &pin, &marker(1, 0))
    }

    #[test]
    fn a_marker_has_the_form_of_a_pin() {
        let text = format!("acme/web:{}", marker(1, 0));
        assert_eq!(ImageRef::parse(&text).map(|reference| reference.to_string()), Ok(text));
    }

    #[test]
    fn the_variable_may_reach_the_image_alone() {
        let mark = marker(1, 0);
        let image = format!("acme/web:{mark}");
        let cases = [
            (json!({"web": {"image": image}}), ""),
            (json!({"web": {"image": format!("docker.io/acme/web:{mark}")}}), ""),
            (json!({"web": {"image": image, "labels": {"v": mark}}}), "changes more than the image: services.web.labels.v is ${T}"),
            (json!({"web": {"image": image, "environment": {"V": mark}}}), "changes more than the image: services.web.environment.V"),
            (json!({"web": {"image": format!("acme/web:x-{mark}")}}), "services.web.image is acme/web:x-${T}"),
            (json!({"web": {"image": format!("{mark}-alpine")}}), "services.web.image is ${T}-alpine"),
            (json!({"web": {"image": image}, "api": {"image": format!("acme/api:{mark}")}}), "services.api.image is acme/api:${T}"),
            (
                json!({"web": {"image": image}, "old": {"image": "acme/web:1"}}),
                "services.old.image is acme/web:1, which does not use the variable T",
            ),
            (json!({"web": {"image": "acme/other:1"}}), "no service has the image acme/web:${T}"),
            (json!({"web": {"image": format!("acme/web@sha256:00:{mark}")}}), "services.web.image"),
            (json!({"web": {"image": image, "x-note": mark}}), "services.web.x-note is ${T}"),
        ];
        for (services, words) in cases {
            let said = said(&services).unwrap_or_default();
            assert!(said.contains(words) && said.is_empty() == words.is_empty(), "{services}: {said}");
        }
    }

    #[test]
    fn two_runs_are_compared_without_their_markers() {
        let config = |run| json!({"services": {"web": {"image": format!("acme/web:{}", marker(run, 0)), "ports": [1]}}});
        let (one, two) = (without_markers(&config(1), 1, 1), without_markers(&config(2), 2, 1));
        assert_eq!(difference(&one, &two, &BTreeSet::new()), None);
        assert_eq!(difference(&config(1), &config(2), &BTreeSet::new()).as_deref(), Some("services.web.image"));
        assert_eq!(difference(&config(1), &config(2), &BTreeSet::from(["web".to_owned()])), None);
        let more = json!({"services": {"web": {"image": "x", "user": "1"}}});
        assert_eq!(
            difference(&more, &json!({"services": {"web": {"image": "x"}}}), &BTreeSet::new()).as_deref(),
            Some("services.web.user")
        );
    }
}
