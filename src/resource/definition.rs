//! What Kubernetes is told of the resource: its CustomResourceDefinition, made of the types and the rules.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool, ValidationRule,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::rules::rules;
use crate::{Error, HAController};

/// What stands above it in a file.
const ABOUT: &str = "# Written by `majordomo crd`.\n";
/// What `kubectl get` shows: name, type, place.
const COLUMNS: [(&str, &str, &str); 6] = [
    ("Ready", "integer", ".status.readyReplicas"),
    ("Replicas", "integer", ".spec.replicas"),
    ("Phase", "string", ".status.phase"),
    ("Revision", "string", ".status.revision"),
    ("Age", "date", ".metadata.creationTimestamp"),
    ("URL", "string", ".status.url"),
];

/// The definition.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = HAController::crd();
    for version in &mut definition.spec.versions {
        version.additional_printer_columns = Some(COLUMNS.map(column).into());
        if let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            complete(root);
        }
    }
    definition
}

/// The definition as YAML.
pub fn definition_yaml() -> Result<String, Error> {
    let yaml = serde_saphyr::to_string(&definition());
    yaml.map(|yaml| format!("{ABOUT}{yaml}")).map_err(|error| Error(format!("write the definition: {error}")))
}

/// The schema of one part of the resource.
pub(crate) fn schema(part: &str) -> Option<JSONSchemaProps> {
    let mut version = definition().spec.versions.into_iter().next()?;
    let root = version.schema.take()?.open_api_v3_schema?;
    root.properties?.remove(part)
}

/// The fields of a spec that this version knows: what a newer one has written beside them is dropped, as an API server does. Not
/// cheap: the definition is made anew.
pub fn known(spec: &mut Value) {
    if let Some(schema) = schema("spec") {
        prune(&schema, spec);
    }
}

fn prune(schema: &JSONSchemaProps, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let all = match &schema.additional_properties {
                Some(JSONSchemaPropsOrBool::Schema(of)) => Some(&**of),
                _ => None,
            };
            let known = schema.properties.as_ref().filter(|_| all.is_none());
            if let Some(known) = known.filter(|_| schema.x_kubernetes_preserve_unknown_fields != Some(true)) {
                fields.retain(|name, _| known.contains_key(name));
            }
            for (name, value) in fields {
                let of = all.or_else(|| schema.properties.as_ref()?.get(name));
                of.into_iter().for_each(|of| prune(of, value));
            }
        }
        Value::Array(items) => {
            let Some(JSONSchemaPropsOrArray::Schema(of)) = &schema.items else { return };
            items.iter_mut().for_each(|item| prune(of, item));
        }
        _ => {}
    }
}

fn column((name, kind, place): (&str, &str, &str)) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: kind.to_owned(),
        json_path: place.to_owned(),
        ..CustomResourceColumnDefinition::default()
    }
}

fn complete(root: &mut JSONSchemaProps) {
    adapt(root, true);
    root.title = None;
    // A resource without a spec is one with the defaults.
    root.required = None;
    let properties = root.properties.get_or_insert_default();
    if let Some(spec) = properties.get_mut("spec") {
        spec.default = Some(JSON(json!({})));
    }
    if let Some(status) = properties.get_mut("status") {
        // What nobody has written is not there.
        adapt(status, false);
    }
    for rule in rules() {
        if let Some(place) = rule.at.split('.').filter(|name| !name.is_empty()).try_fold(&mut *root, below) {
            place.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
                rule: rule.cel,
                message: Some(rule.sentence),
                ..ValidationRule::default()
            });
        }
    }
}

fn below<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}

/// Makes of what the derived code says what an API server takes and people read.
fn adapt(schema: &mut JSONSchemaProps, defaults: bool) {
    // `null` is as if the field was not there; API servers drop it then.
    schema.nullable = None;
    schema.default = schema.default.take().filter(|JSON(value)| defaults && !value.is_null());
    if let Some(words) = &mut schema.enum_ {
        words.retain(|JSON(word)| *word != Value::Null);
    }
    schema.description = schema.description.as_deref().map(flowing);
    if let Some(JSONSchemaPropsOrBool::Bool(_)) = schema.additional_properties {
        schema.additional_properties = None;
    }
    let properties = schema.properties.iter_mut().flat_map(|properties| properties.values_mut());
    properties.for_each(|property| adapt(property, defaults));
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => adapt(item, defaults),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => {
            items.iter_mut().for_each(|item| adapt(item, defaults))
        }
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        adapt(value, defaults);
        // a page about quantities, at each of them
        value.description =
            value.description.take().filter(|_| value.x_kubernetes_int_or_string != Some(true));
    }
}

/// Paragraphs without the line ends of our source.
fn flowing(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}
