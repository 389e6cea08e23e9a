//! Transactions as text that a person can compare, close to nft's own language.

use serde_json::Value;

use crate::firewall::transaction::Transaction;

/// One command a line.
pub(super) fn lines(transaction: &Transaction) -> Vec<String> {
    let transaction = serde_json::to_value(transaction).expect("plain data");
    list(&transaction["nftables"]).iter().map(line).collect()
}

fn line(object: &Value) -> String {
    let (command, object) = only(object);
    let (kind, body) = only(object);
    let name = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let family = name("family");
    match kind {
        "rule" => {
            let statements: Vec<String> = list(&body["expr"]).iter().map(statement).collect();
            format!("{family} {}: {}  # {}", name("chain"), statements.join(" "), name("comment"))
        }
        "chain" if body["hook"].is_string() => {
            let of = format!("type {} hook {} priority {}", name("type"), name("hook"), body["prio"]);
            format!("{family} chain {}: {of}", name("name"))
        }
        "chain" => format!("{family} chain {}", name("name")),
        "element" => {
            let elements: Vec<String> = list(&body["elem"]).iter().map(element).collect();
            format!("{command} {family} {}: {}", name("name"), elements.join(", "))
        }
        "set" | "map" => {
            let mut text = format!("{family} {kind} {}: {}", name("name"), joined(&body["type"], " . "));
            if kind == "map" {
                text += &format!(" : {}", expression(&body["map"]));
            }
            if !body["flags"].is_null() {
                text += &format!(" flags {}", joined(&body["flags"], ","));
            }
            for each in list(&body["stmt"]) {
                text += &format!(", each element: {}", statement(each));
            }
            text
        }
        _ => format!("{command} {family} {kind} {}", name("name")),
    }
}

fn element(element: &Value) -> String {
    match element {
        Value::Array(pair) => format!("{} : {}", expression(&pair[0]), expression(&pair[1])),
        other => expression(other),
    }
}

fn statement(of: &Value) -> String {
    let (kind, body) = only(of);
    match kind {
        "match" => {
            let op = body["op"].as_str().filter(|op| !matches!(*op, "==" | "in")).map(|op| format!("{op} "));
            format!("{} {}{}", expression(&body["left"]), op.unwrap_or_default(), expression(&body["right"]))
        }
        "vmap" => format!("{} vmap {}", expression(&body["key"]), expression(&body["data"])),
        "goto" | "jump" => format!("{kind} {}", expression(&body["target"])),
        "counter" if body.is_null() => "counter".to_owned(),
        "counter" => format!("counter name {}", expression(body)),
        "meter" => {
            format!(
                "meter {} {{ {} {} }}",
                expression(&body["name"]),
                expression(&body["key"]),
                statement(&body["stmt"])
            )
        }
        "limit" => format!("limit rate {}/{} burst {}", body["rate"], expression(&body["per"]), body["burst"]),
        "log" => format!("log prefix {} group {} snaplen {}", body["prefix"], body["group"], body["snaplen"]),
        "dnat" => {
            let port = if body["port"].is_null() { String::new() } else { format!(" : {}", expression(&body["port"])) };
            format!("dnat to {}{port}", expression(&body["addr"]))
        }
        "masquerade" if body.is_object() => format!("masquerade to :{}", expression(&body["port"])),
        "mangle" => format!("{} set {}", expression(&body["key"]), expression(&body["value"])),
        _ if body.is_null() => kind.to_owned(),
        _ => panic!("no text for {of}"),
    }
}

fn expression(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // Masks.
        Value::Number(number) if number.as_u64().is_some_and(|bits| bits > 0xff_ffff) => {
            format!("{:#x}", number.as_u64().unwrap_or_default())
        }
        Value::Number(number) => number.to_string(),
        Value::Array(_) => joined(value, ","),
        Value::Object(_) => named(value),
        _ => panic!("no text for {value}"),
    }
}

fn named(value: &Value) -> String {
    let (kind, body) = only(value);
    let part = |key: &str| expression(&body[key]);
    match kind {
        "payload" => format!("{} {}", part("protocol"), part("field")),
        "meta" => format!("meta {}", part("key")),
        "ct" if body["dir"].is_string() => format!("ct {} {}", part("dir"), part("key")),
        "ct" => format!("ct {}", part("key")),
        "fib" => format!("fib {} {}", part("flags"), part("result")),
        "prefix" => format!("{}/{}", part("addr"), part("len")),
        "range" => joined(body, "-"),
        "elem" => format!("{} timeout {}s", part("val"), body["timeout"]),
        "concat" => joined(body, " . "),
        "map" => format!("{} map {}", part("key"), part("data")),
        "&" => joined(body, " & "),
        "|" => joined(body, " | "),
        "set" => {
            let item = |item: &Value| match item {
                Value::Array(pair) if pair[1].is_object() => {
                    format!("{} : {}", expression(&pair[0]), statement(&pair[1]))
                }
                other => expression(other),
            };
            format!("{{ {} }}", list(body).iter().map(item).collect::<Vec<_>>().join(", "))
        }
        _ => panic!("no text for {value}"),
    }
}

fn joined(value: &Value, by: &str) -> String {
    match value {
        Value::Array(values) => values.iter().map(expression).collect::<Vec<_>>().join(by),
        other => expression(other),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn only(value: &Value) -> (&str, &Value) {
    let (key, value) = value.as_object().and_then(|object| object.iter().next()).expect("an object of one entry");
    (key, value)
}
