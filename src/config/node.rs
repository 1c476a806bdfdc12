//! `config.xml` of nodes (`<slave>`), and the form of `/computer/doCreateItem`.

use model::{NameError, NodeName, short};
use serde_json::Value;
use store::Node;

use crate::ConfigError;
use crate::xml::{self, escape};

/// Most executors of one node.
pub const MAX_EXECUTORS: u32 = 1_000;
/// Most labels of one node.
const MAX_LABELS: usize = 1_000;
/// Longest label, in bytes.
const MAX_LABEL: usize = 200;
/// Names by which Jenkins' paths mean the controller itself.
const RESERVED: [&str; 2] = ["(built-in)", "(master)"];

/// A node's configuration; what it does not know is kept in `xml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    pub name: String,
    pub description: String,
    pub executors: u32,
    pub labels: Vec<String>,
    pub exclusive: bool,
    pub remote_fs: String,
    /// As posted, or made from the fields.
    pub xml: String,
}

impl NodeConfig {
    /// Reads a `<slave>`.
    pub fn parse(text: &str) -> Result<NodeConfig, ConfigError> {
        let root = xml::parse(text)?;
        if !matches!(root.name.as_str(), "slave" | "hudson.slaves.DumbSlave") {
            return Err(ConfigError(format!(
                "a node of type {} does not run in Majordomo; it takes <slave>",
                short(&root.name)
            )));
        }
        Ok(NodeConfig {
            name: check_name(root.word_of("name").unwrap_or_default())?,
            description: root.text_of("description").unwrap_or_default(),
            executors: check_executors(root.number_of("numExecutors")?.unwrap_or(1))?,
            labels: labels(root.word_of("label").unwrap_or_default())?,
            exclusive: exclusive(root.word_of("mode"))?,
            remote_fs: root.word_of("remoteFS").unwrap_or_default().to_owned(),
            xml: text.to_owned(),
        })
    }

    /// Reads what clients send to `/computer/doCreateItem`. Fields of a wrong type count as missing where Jenkins has a
    /// default, and fields that are not known are left out.
    pub fn from_form(name: &str, json: &Value) -> Result<NodeConfig, ConfigError> {
        let text = |names: &[&str]| -> String {
            let found = names.iter().find_map(|name| json.get(name)).unwrap_or(&Value::Null);
            match found {
                Value::String(text) => text.trim().to_owned(),
                Value::Number(number) => number.to_string(),
                Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
                Value::Null | Value::Bool(_) | Value::Object(_) => String::new(),
            }
        };
        let executors = text(&["numExecutors", "_.numExecutors"]);
        let executors = match executors.as_str() {
            "" => 1,
            number => number.parse().map_err(|_| executors_refused(&short(number)))?,
        };
        let mode = text(&["mode"]);
        let mut node = NodeConfig {
            name: check_name(name.trim())?,
            description: text(&["nodeDescription", "description"]),
            executors: check_executors(executors)?,
            labels: labels(&text(&["labelString", "label", "labels"]))?,
            exclusive: exclusive(Some(mode.as_str()).filter(|mode| !mode.is_empty()))?,
            remote_fs: text(&["remoteFS"]),
            xml: String::new(),
        };
        node.xml = node.to_xml();
        Ok(node)
    }

    /// The `<slave>` that says what the fields say.
    pub fn to_xml(&self) -> String {
        format!(
            "<?xml version='1.1' encoding='UTF-8'?>
<slave>
  <name>{}</name>
  <description>{}</description>
  <remoteFS>{}</remoteFS>
  <numExecutors>{}</numExecutors>
  <mode>{}</mode>
  <retentionStrategy class=\"hudson.slaves.RetentionStrategy$Always\"/>
  <launcher class=\"hudson.slaves.JNLPLauncher\">
    <webSocket>true</webSocket>
  </launcher>
  <label>{}</label>
  <nodeProperties/>
</slave>
",
            escape(&self.name),
            escape(&self.description),
            escape(&self.remote_fs),
            self.executors,
            if self.exclusive { "EXCLUSIVE" } else { "NORMAL" },
            escape(&join_labels(&self.labels)),
        )
    }

    pub fn to_node(&self) -> Result<Node, NameError> {
        Ok(Node {
            name: NodeName::parse(&self.name)?,
            description: self.description.clone(),
            executors: self.executors,
            labels: self.labels.clone(),
            exclusive: self.exclusive,
            remote_fs: self.remote_fs.clone(),
            offline: None,
            config: self.xml.clone(),
        })
    }
}

fn check_name(name: &str) -> Result<String, ConfigError> {
    NodeName::parse(name).map_err(|e| ConfigError(e.to_string()))?;
    if !name.is_ascii() {
        // agents say their name in a header, which has no other characters
        return Err(ConfigError(format!("the agent name “{name}” has a character that is not ASCII")));
    }
    if RESERVED.contains(&name) {
        return Err(ConfigError(format!("“{name}” is not an allowed name")));
    }
    Ok(name.to_owned())
}

fn check_executors(number: i64) -> Result<u32, ConfigError> {
    u32::try_from(number)
        .ok()
        .filter(|n| (1..=MAX_EXECUTORS).contains(n))
        .ok_or_else(|| executors_refused(&number.to_string()))
}

fn executors_refused(number: &str) -> ConfigError {
    ConfigError(format!("invalid number of executors “{number}”: it must be between 1 and {MAX_EXECUTORS}"))
}

fn exclusive(mode: Option<&str>) -> Result<bool, ConfigError> {
    match mode {
        None => Ok(false),
        Some(mode) if mode.eq_ignore_ascii_case("NORMAL") => Ok(false),
        Some(mode) if mode.eq_ignore_ascii_case("EXCLUSIVE") => Ok(true),
        Some(other) => Err(ConfigError(format!("mode “{}” is neither NORMAL nor EXCLUSIVE", short(other)))),
    }
}

/// Words of a label list; `"…"` and `'…'` keep blanks, `\` takes the next character as it is.
fn labels(list: &str) -> Result<Vec<String>, ConfigError> {
    let mut found: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = list.chars();
    loop {
        let next = characters.next();
        match (next, quote) {
            (Some(c), Some(q)) if c == q => quote = None,
            (Some(c @ ('"' | '\'')), None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some('\\'), _) => word.get_or_insert_default().extend(characters.next()),
            (Some(c), None) if c.is_whitespace() => take_label(&mut found, word.take())?,
            (Some(c), _) => word.get_or_insert_default().push(c),
            (None, _) => {
                take_label(&mut found, word.take())?;
                return Ok(found);
            }
        }
    }
}

fn take_label(found: &mut Vec<String>, word: Option<String>) -> Result<(), ConfigError> {
    let Some(word) = word.filter(|w| !w.is_empty()) else { return Ok(()) };
    if word.len() > MAX_LABEL {
        return Err(ConfigError(format!("the label “{}” is longer than {MAX_LABEL} bytes", short(&word))));
    }
    if word.chars().any(char::is_control) {
        return Err(ConfigError(format!("the label “{}” has a control character", short(&word))));
    }
    if found.len() >= MAX_LABELS {
        return Err(ConfigError(format!("there are more than {MAX_LABELS} labels")));
    }
    if !found.contains(&word) {
        found.push(word);
    }
    Ok(())
}

/// The list that [`labels`] reads as these words.
fn join_labels(labels: &[String]) -> String {
    let quoted = |label: &String| {
        if label.chars().any(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '\\')) {
            format!("\"{}\"", label.replace('\\', "\\\\").replace('"', "\\\""))
        } else {
            label.clone()
        }
    };
    labels.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slave_as_jenkins_writes_it_is_read() {
        let text = "<?xml version='1.1'?><slave plugin='x'><name>agent-1</name><description>d &amp; e</description>\
            <remoteFS>/home/a</remoteFS><numExecutors>3</numExecutors><mode>EXCLUSIVE</mode>\
            <launcher class='hudson.slaves.JNLPLauncher'><webSocket>true</webSocket></launcher>\
            <label>linux  \"big one\" linux x\\ y</label></slave>";
        let node = NodeConfig::parse(text).unwrap();
        assert_eq!(node.name, "agent-1");
        assert_eq!(node.description, "d & e");
        assert_eq!((node.executors, node.exclusive), (3, true));
        assert_eq!(node.labels, ["linux", "big one", "x y"]);
        assert_eq!(node.remote_fs, "/home/a");
        assert_eq!(node.xml, text);
    }

    #[test]
    fn what_clients_send_to_do_create_item_is_read() {
        let cases = [
            (
                json!({"nodeDescription": "d", "numExecutors": "2", "remoteFS": "/r", "labelString": "a b",
                "mode": "EXCLUSIVE", "retentionsStrategy": {"stapler-class": "x"}, "launcher": {}}),
                2,
                true,
                2,
            ),
            (json!({"numExecutors": 4, "labelString": ["a"], "mode": "NORMAL"}), 4, false, 1),
            (json!({"labelString": null, "mode": ""}), 1, false, 0),
            (json!(null), 1, false, 0),
            (json!([1, "x"]), 1, false, 0),
        ];
        for (form, executors, exclusive, labels) in cases {
            let node = NodeConfig::from_form("a", &form).unwrap();
            assert_eq!(
                (node.executors, node.exclusive, node.labels.len()),
                (executors, exclusive, labels),
                "{form}"
            );
            assert_eq!(NodeConfig::parse(&node.xml).unwrap(), node);
        }
    }

    #[test]
    fn a_node_that_could_not_work_is_refused_with_a_sentence() {
        for (name, form, why) in [
            ("", json!({}), "No name"),
            ("..", json!({}), "not an allowed name"),
            ("a/b", json!({}), "unsafe character"),
            ("é", json!({}), "not ASCII"),
            ("(built-in)", json!({}), "not an allowed name"),
            ("a", json!({"numExecutors": 0}), "executors “0”"),
            ("a", json!({"numExecutors": "-1"}), "executors “-1”"),
            ("a", json!({"numExecutors": "many"}), "executors “many”"),
            ("a", json!({"numExecutors": 1.5}), "executors “1.5”"),
            ("a", json!({"numExecutors": 99999999999999999999f64}), "executors"),
            ("a", json!({"mode": "odd"}), "neither NORMAL"),
            ("a", json!({"labelString": "x".repeat(201)}), "longer than 200"),
        ] {
            let said = NodeConfig::from_form(name, &form).unwrap_err().to_string();
            assert!(said.contains(why), "{name} {form}: {said}");
        }
        assert!(NodeConfig::parse("<project/>").unwrap_err().to_string().contains("node of type project"));
        assert!(NodeConfig::parse("<slave><name>x</name><numExecutors>z</numExecutors></slave>").is_err());
    }

    #[test]
    fn labels_are_written_as_they_are_read() {
        let words = ["plain", "with blank", "q\"q", "back\\slash", "it's"].map(str::to_owned);
        assert_eq!(labels(&join_labels(&words)).unwrap(), words);
        assert_eq!(labels("'open quote").unwrap(), ["open quote"]);
        assert_eq!(labels("a\\").unwrap(), ["a"]);
        assert!(labels("\"\" ''").unwrap().is_empty());
    }
}
