//! What a user wants applied: [`Manifest`] reads a file of several YAML documents, in the dialect that kubectl
//! reads, into objects that know their line. Must not know any cluster.
//!
//! 部署清单：多文档 YAML → 带行号的对象。

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use st_harness::{diag::Place, verdict::Reason};

/// The objects of a file, in the order in which they are applied: namespaces and definitions of kinds first,
/// the rest as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The file.
    pub file: Utf8PathBuf,
    /// At least one.
    pub objects: Vec<Object>,
}

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// What kind of thing it is.
    pub gvk: GroupVersionKind,
    /// Its name.
    pub name: String,
    /// The namespace it asks for itself.
    pub namespace: Option<String>,
    /// All of it, as it is sent.
    pub body: Value,
    /// The first line of its document.
    pub place: Place,
}

/// Something in a manifest that no cluster would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What was expected and found.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, column, .. } = &self.place;
        write!(f, "{file}:{line}:{column}: {}", self.message)
    }
}

impl Manifest {
    /// Reads `file`.
    ///
    /// # Errors
    /// All mistakes at once, each with its line.
    pub fn load(file: &Utf8Path) -> Result<Self, Reason> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Reason::new("k8s-manifest", format!("the manifest {file} cannot be read: {error}"))
        })?;
        Self::parse(file, &text).map_err(|mistakes| reason(&mistakes))
    }

    /// Reads `text`, which stands in `file`.
    ///
    /// # Errors
    /// All mistakes, in the order of their lines.
    pub fn parse(file: &Utf8Path, text: &str) -> Result<Self, Vec<Mistake>> {
        let mut objects = Vec::new();
        let mut mistakes = unfilled(file, text);
        for document in documents(text) {
            match document.value(file) {
                Ok(value) => flatten(value, &document.place(file), &mut objects, &mut mistakes),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        twice(&objects, &mut mistakes);
        if mistakes.is_empty() && objects.is_empty() {
            mistakes.push(Mistake { place: place(file, 1, 1), message: "no object in this file".to_owned() });
        }
        if !mistakes.is_empty() {
            mistakes.sort_by_key(|mistake| (mistake.place.line, mistake.place.column));
            return Err(mistakes);
        }
        objects.sort_by_key(Object::rank);
        Ok(Self { file: file.to_owned(), objects })
    }
}

impl Object {
    /// What else depends on it goes after it.
    fn rank(&self) -> u8 {
        match (self.gvk.group.as_str(), self.gvk.kind.as_str()) {
            ("", "Namespace") => 0,
            _ if self.defines_a_kind() => 1,
            _ => 2,
        }
    }

    /// Whether it is a CustomResourceDefinition.
    pub fn defines_a_kind(&self) -> bool {
        self.gvk.group == "apiextensions.k8s.io" && self.gvk.kind == "CustomResourceDefinition"
    }

    /// Whether it belongs to the cluster's set-up rather than to one run: deleting it would take away what
    /// others have put into it.
    pub fn is_shared(&self) -> bool {
        self.rank() < 2
    }

    fn new(mut body: Value, place: &Place) -> Result<Self, String> {
        let text = |pointer: &str| match body.pointer(pointer) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(other) => {
                let key = pointer[1..].replace('/', ".");
                Err(format!("`{key}` must be text, found {other}: put it in quotes"))
            }
        };
        if !body.is_object() {
            return Err(format!("an object was expected, found {}", kind_of(&body)));
        }
        let api_version = text("/apiVersion")?.ok_or("`apiVersion` is missing, such as `apps/v1`")?;
        let kind = text("/kind")?.ok_or("`kind` is missing, such as `Deployment`")?;
        let Some(name) = text("/metadata/name")? else {
            return Err(match text("/metadata/generateName")? {
                Some(_) => {
                    "`metadata.generateName` cannot be applied twice: give it a `metadata.name`".to_owned()
                }
                None => format!("`metadata.name` of this {kind} is missing"),
            });
        };
        let namespace = text("/metadata/namespace")?;
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
        let gvk = GroupVersionKind::gvk(group, version, &kind);
        fill_protocol(&mut body);
        Ok(Self { gvk, name, namespace, body, place: place.clone() })
    }
}

/// The mistakes of a manifest as one reason, the first line of it in front.
fn reason(mistakes: &[Mistake]) -> Reason {
    let all: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
    let first = mistakes.first().expect("a manifest is refused for at least one mistake");
    let more = match mistakes.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    Reason::new("k8s-manifest", format!("the manifest cannot be applied: {first}{more}"))
        .with_detail(all.join("\n"))
        .at(first.place.clone())
}

/// The part of a file between two `---` lines.
struct Document<'a> {
    /// From 1; the line of its first byte.
    line: u32,
    text: &'a str,
}

/// As kubectl splits: a line that starts with `---` ends a document, wherever it stands.
fn documents(text: &str) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let (mut begin, mut first, mut at) = (0, 1, 0);
    for (line, number) in text.split_inclusive('\n').zip(2..) {
        let end = at;
        at += line.len();
        if line.starts_with("---") {
            found.push(Document { line: first, text: &text[begin..end] });
            (begin, first) = (at, number);
        }
    }
    found.push(Document { line: first, text: &text[begin..] });
    found.retain(Document::says_something);
    found
}

impl Document<'_> {
    fn says_something(&self) -> bool {
        self.text.lines().any(says_something)
    }

    /// Its first line that says something.
    fn place(&self, file: &Utf8Path) -> Place {
        let before = self.text.lines().take_while(|line| !says_something(line)).count();
        place(file, self.line + u32::try_from(before).unwrap_or(u32::MAX), 1)
    }

    /// Empty lines go in front, so that the reader counts the lines of the file.
    fn value(&self, file: &Utf8Path) -> Result<Value, Mistake> {
        let padded = "\n".repeat(self.line as usize - 1) + self.text;
        let dialect = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
        serde_saphyr::from_str_with_options(&padded, dialect).map_err(|error| {
            let place = error.location().map_or_else(
                || self.place(file),
                |at| {
                    place(
                        file,
                        u32::try_from(at.line()).unwrap_or(1),
                        u32::try_from(at.column()).unwrap_or(1),
                    )
                },
            );
            Mistake { place, message: error.to_string() }
        })
    }
}

fn says_something(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#') && line != "..."
}

/// A `List` stands for its items.
fn flatten(value: Value, place: &Place, objects: &mut Vec<Object>, mistakes: &mut Vec<Mistake>) {
    match value {
        Value::Null => {}
        Value::Object(mut map)
            if map.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"))
                && map.get("items").is_some_and(Value::is_array) =>
        {
            let items = map.remove("items").and_then(|items| match items {
                Value::Array(items) => Some(items),
                _ => None,
            });
            for item in items.unwrap_or_default() {
                flatten(item, place, objects, mistakes);
            }
        }
        other => match Object::new(other, place) {
            Ok(object) => objects.push(object),
            Err(message) => mistakes.push(Mistake { place: place.clone(), message }),
        },
    }
}

/// The same object twice would be applied twice, and only the last would count.
fn twice(objects: &[Object], mistakes: &mut Vec<Mistake>) {
    for (at, object) in objects.iter().enumerate() {
        let same = |other: &&Object| {
            (&other.gvk, &other.name, &other.namespace) == (&object.gvk, &object.name, &object.namespace)
        };
        if let Some(first) = objects[..at].iter().find(same) {
            let message =
                format!("{} `{}` stands on line {} already", object.gvk.kind, object.name, first.place.line);
            mistakes.push(Mistake { place: object.place.clone(), message });
        }
    }
}

/// An image that still holds `${…}`: generated manifests come with such gaps, and a cluster would try to pull
/// them for minutes. Elsewhere `${…}` may well be meant for a shell.
fn unfilled(file: &Utf8Path, text: &str) -> Vec<Mistake> {
    let lines = text.lines().zip(1..);
    lines
        .filter_map(|(line, number)| {
            let bare = line.trim_start().trim_start_matches("- ").trim_start();
            let image = bare.strip_prefix("image:")?.trim().trim_matches(['"', '\'']);
            let at = line.find("${")?;
            let message = format!("the image `{image}` has a gap that was not filled in");
            image.contains("${").then(|| Mistake {
                place: place(file, number, u32::try_from(line[..at].chars().count() + 1).unwrap_or(1)),
                message,
            })
        })
        .collect()
}

/// Servers before 1.21 cannot merge a list of ports whose `protocol` is left out; TCP is what they would have
/// filled in.
fn fill_protocol(body: &mut Value) {
    const PORTS: [&str; 1] = ["/spec/ports"];
    const PODS: [&str; 3] = ["/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];
    let group = body["apiVersion"].as_str().unwrap_or_default();
    if !matches!(group.rsplit_once('/').map_or("", |(group, _)| group), "" | "apps" | "batch") {
        return;
    }
    let fill = |ports: Option<&mut Value>| {
        for port in ports.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(port) = port.as_object_mut() {
                port.entry("protocol").or_insert_with(|| json!("TCP"));
            }
        }
    };
    for pointer in PORTS {
        fill(body.pointer_mut(pointer));
    }
    for pods in PODS {
        for list in ["containers", "initContainers"] {
            let containers = body.pointer_mut(&format!("{pods}/{list}")).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                fill(container.get_mut("ports"));
            }
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn place(file: &Utf8Path, line: u32, column: u32) -> Place {
    Place { file: file.to_owned(), line, column, length: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest, Vec<Mistake>> {
        Manifest::parse(Utf8Path::new("m.yaml"), text)
    }

    fn mistakes(text: &str) -> Vec<String> {
        parse(text).unwrap_err().iter().map(Mistake::to_string).collect()
    }

    fn config_map(data: &str) -> Value {
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\n{data}\n");
        parse(&text).unwrap().objects.remove(0).body
    }

    #[test]
    fn documents_keep_their_lines_and_empty_ones_count_for_nothing() {
        let text = "# only a comment\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n---\n\n\
                    # what follows\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b, namespace: ns}\n...\n";
        let objects = parse(text).unwrap().objects;
        let seen: Vec<_> = objects
            .iter()
            .map(|o| (o.gvk.api_version(), &*o.gvk.kind, &*o.name, o.namespace.as_deref(), o.place.line))
            .collect();
        assert_eq!(
            seen,
            [("v1".into(), "Service", "a", None, 3), ("apps/v1".into(), "Deployment", "b", Some("ns"), 10)]
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "apiVersion: v1\nmetadata: {name: a}\n---\n[1]\n---\napiVersion: v1\nkind: Pod\nmetadata: \
                    {generateName: p-}\n---\nkind: Pod\nmetadata: {name: 7}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: off}\n";
        assert_eq!(
            mistakes(text),
            [
                "m.yaml:1:1: `kind` is missing, such as `Deployment`",
                "m.yaml:4:1: an object was expected, found a list",
                "m.yaml:6:1: `metadata.generateName` cannot be applied twice: give it a `metadata.name`",
                "m.yaml:10:1: `apiVersion` is missing, such as `apps/v1`",
                "m.yaml:13:1: `metadata.name` must be text, found false: put it in quotes",
            ]
        );
    }

    #[test]
    fn a_mistake_of_yaml_in_a_later_document_keeps_the_line_of_the_file() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\n\
                    kind: Secret\nmetadata: {name: b}\n";
        let found = parse(text).unwrap_err();
        assert_eq!((found.len(), found[0].place.line), (1, 7), "{found:?}");
        assert!(found[0].message.contains("kind"), "{}", found[0].message);
    }

    #[test]
    fn a_file_without_objects_is_a_mistake() {
        assert_eq!(mistakes("# nothing\n---\n"), ["m.yaml:1:1: no object in this file"]);
    }

    #[test]
    fn the_dialect_is_kubectls() {
        assert_eq!(config_map("data: {mode: 0644}")["data"]["mode"], json!(420));
        assert_eq!(config_map("data: {flag: yes}")["data"]["flag"], json!(true));
        assert_eq!(config_map("data: {text: \"yes\"}")["data"]["text"], json!("yes"));
        assert_eq!(config_map("base: &b {k: 1}\ndata: {<<: *b}")["data"]["k"], json!(1));
        assert_eq!(config_map("data: {port: 8080}")["data"]["port"], json!(8080));
    }

    #[test]
    fn a_list_stands_for_its_items() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n\
                    - {apiVersion: v1, kind: Secret, metadata: {name: b}}\n";
        let names: Vec<_> = parse(text).unwrap().objects.into_iter().map(|object| object.name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn definitions_of_kinds_come_before_what_uses_them() {
        let text = "apiVersion: x.y/v1\nkind: Thing\nmetadata: {name: t}\n---\napiVersion: \
                    apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.x.y}\n---\n\
                    apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n---\napiVersion: v1\nkind: Service\n\
                    metadata: {name: s}\n";
        let kinds: Vec<_> = parse(text).unwrap().objects.into_iter().map(|object| object.gvk.kind).collect();
        assert_eq!(kinds, ["Namespace", "CustomResourceDefinition", "Thing", "Service"]);
    }

    #[test]
    fn the_same_object_twice_names_both_lines() {
        let one = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
        assert_eq!(
            mistakes(&format!("{one}---\n{one}")),
            ["m.yaml:5:1: Service `s` stands on line 1 already"]
        );
    }

    #[test]
    fn a_gap_in_an_image_is_found_and_a_shells_variable_is_left_alone() {
        let pod = |image: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - name: c\n    image: \
                 {image}\n    args: [\"echo ${{HOME}}\"]\n"
            )
        };
        assert_eq!(
            mistakes(&pod("${image_name}")),
            ["m.yaml:7:12: the image `${image_name}` has a gap that was not filled in"]
        );
        assert!(parse(&pod("vllm:0.11")).is_ok());
    }

    #[test]
    fn ports_say_their_protocol_for_old_servers() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    spec:\n      \
                    containers:\n      - {name: c, ports: [{containerPort: 1}, {containerPort: 2, protocol: UDP}]}\n\
                    ---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 1}]}\n---\n\
                    apiVersion: x.y/v1\nkind: Thing\nmetadata: {name: t}\nspec: {ports: [{port: 1}]}\n";
        let objects = parse(text).unwrap().objects;
        let container = &objects[0].body["spec"]["template"]["spec"]["containers"][0]["ports"];
        assert_eq!(container[0]["protocol"], "TCP");
        assert_eq!(container[1]["protocol"], "UDP");
        assert_eq!(objects[1].body["spec"]["ports"][0]["protocol"], "TCP");
        assert_eq!(objects[2].body["spec"]["ports"][0].get("protocol"), None);
    }
}
