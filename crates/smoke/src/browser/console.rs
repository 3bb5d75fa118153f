//! What a script writes to the console, put together as browsers show it
//! ([Console Standard](https://console.spec.whatwg.org/#formatter)).

use serde_json::Value;

/// One message of these arguments: the first may say with `%s`, `%d`, `%i`, `%f`, `%o`, `%O` and `%c` where the others go; those
/// left over follow it.
pub(super) fn message(arguments: &[Value]) -> String {
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    if let Some(format) = arguments.first().and_then(|first| first["value"].as_str()).filter(|_| arguments.len() > 1) {
        rest.next();
        words.push(formatted(format, &mut rest));
    }
    words.extend(rest.map(argument_text));
    words.join(" ")
}

fn formatted<'a>(format: &str, rest: &mut impl Iterator<Item = &'a Value>) -> String {
    let mut message = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        let specifier = chars.peek().copied().filter(|_| c == '%');
        match specifier {
            Some('%') => message.push('%'),
            Some(specifier @ ('s' | 'd' | 'i' | 'f' | 'o' | 'O' | 'c')) => match (rest.next(), specifier) {
                // Nothing is left to put here.
                (None, _) => {
                    message.push('%');
                    continue;
                }
                // A style for what follows, which is not shown.
                (Some(_), 'c') => {}
                (Some(argument), 'd' | 'i') => message.push_str(&number(argument).map_or_else(nan, |number| number.trunc().to_string())),
                (Some(argument), 'f') => message.push_str(&number(argument).map_or_else(nan, |number| number.to_string())),
                (Some(argument), _) => message.push_str(&argument_text(argument)),
            },
            _ => {
                message.push(c);
                continue;
            }
        }
        chars.next();
    }
    message
}

fn nan() -> String {
    "NaN".to_owned()
}

/// A number, or the one that a text begins with.
fn number(argument: &Value) -> Option<f64> {
    let text = argument_text(argument);
    let text = text.trim_start();
    let ends = |(at, c): &(usize, char)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && matches!(c, '-' | '+')));
    let end = text.char_indices().find(ends).map_or(text.len(), |(at, _)| at);
    let is_object = matches!(argument["type"].as_str(), Some("object" | "function" | "symbol"));
    text.get(..end).filter(|_| !is_object)?.parse().ok()
}

fn argument_text(argument: &Value) -> String {
    let text = |name: &str| argument[name].as_str().map(str::to_owned);
    match &argument["value"] {
        Value::String(value) => value.clone(),
        Value::Null => text("unserializableValue")
            .or_else(|| text("description"))
            .or_else(|| text("subtype"))
            .or_else(|| text("type"))
            .unwrap_or_default(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::message;

    #[test]
    fn arguments_go_where_the_first_one_says() {
        let text = |text: &str| json!({ "type": "string", "value": text });
        let number = |number: f64| json!({ "type": "number", "value": number });
        let object = json!({ "type": "object", "description": "Object" });
        let undefined = json!({ "type": "undefined" });
        let null = json!({ "type": "object", "subtype": "null", "value": null });
        let big = json!({ "type": "bigint", "unserializableValue": "10n", "description": "10n" });
        let table: [(Vec<Value>, &str); 12] = [
            (vec![], ""),
            (vec![text("100%s")], "100%s"),
            (vec![text("%s is %s"), text("a"), number(1.5)], "a is 1.5"),
            (vec![text("%d %i %f"), number(42.9), text("-7x"), text("1.5z")], "42 -7 1.5"),
            (vec![text("%d %i"), text("x"), object.clone()], "NaN NaN"),
            (vec![text("%o, %O"), object.clone(), null.clone()], "Object, null"),
            (vec![text("%cred %cblue"), text("color:red"), text("color:blue"), text("rest")], "red blue rest"),
            (vec![text("%s %s"), text("a")], "a %s"),
            (vec![text("100%% of %s, 5% %x"), text("a")], "100% of a, 5% %x"),
            (vec![text("%"), text("%s")], "% %s"),
            (vec![object, undefined, null, big.clone()], "Object undefined null 10n"),
            (vec![text("%d"), big], "10"),
        ];
        for (arguments, wanted) in table {
            assert_eq!(message(&arguments), wanted, "{arguments:?}");
        }
    }
}
