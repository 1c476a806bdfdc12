//! How long texts, lists and maps may be and between which bounds numbers lie: what the definition says of it, an API server
//! checks, and the same is checked here for a file.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use model::short;
use serde_json::Value;

use crate::definition::schema;
use crate::text::{NAME, is_name};
use crate::{Error, Spec};

pub(crate) fn check(spec: &Spec) -> Result<(), Error> {
    let value = serde_json::to_value(spec).map_err(|error| Error(format!("spec: {error}")))?;
    match schema("spec") {
        Some(schema) => within(&schema, &value, "spec"),
        None => Ok(()),
    }
}

fn within(schema: &JSONSchemaProps, value: &Value, path: &str) -> Result<(), Error> {
    let refuse = |why: String| Err(Error(format!("{path}: {why}")));
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            match (schema.minimum, schema.maximum) {
                (Some(least), _) if number < least => refuse(format!("{number} is less than {least}")),
                (_, Some(most)) if number > most => refuse(format!("{number} is more than {most}")),
                _ => Ok(()),
            }
        }
        Value::String(text) => {
            bounds(text.chars().count(), schema.min_length, schema.max_length, "characters")
                .or_else(refuse)?;
            let named = schema.pattern.as_deref() == Some(NAME);
            if named && !is_name(text) {
                return refuse(format!("“{}” is no name: it has other than a-z, 0-9, - and .", short(text)));
            }
            Ok(())
        }
        Value::Array(items) => {
            bounds(items.len(), schema.min_items, schema.max_items, "entries").or_else(refuse)?;
            if let Some(twice) = twice(schema, items) {
                return refuse(format!("“{}” is there twice", short(twice)));
            }
            let Some(JSONSchemaPropsOrArray::Schema(of)) = &schema.items else { return Ok(()) };
            items.iter().enumerate().try_for_each(|(n, item)| within(of, item, &format!("{path}[{n}]")))
        }
        Value::Object(fields) => {
            bounds(fields.len(), None, schema.max_properties, "entries").or_else(refuse)?;
            fields.iter().try_for_each(|(name, value)| {
                let known = schema.properties.as_ref().and_then(|known| known.get(name));
                let of = known.or(match &schema.additional_properties {
                    Some(JSONSchemaPropsOrBool::Schema(of)) => Some(of),
                    _ => None,
                });
                of.map_or(Ok(()), |of| within(of, value, &format!("{path}.{}", short(name))))
            })
        }
    }
}

fn bounds(length: usize, least: Option<i64>, most: Option<i64>, of: &str) -> Result<(), String> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    match (least, most) {
        (Some(least), _) if length < least => Err(format!("it has {length} {of} and needs {least} at least")),
        (_, Some(most)) if length > most => Err(format!("it has {length} {of} and may have {most} at most")),
        _ => Ok(()),
    }
}

/// What is there twice in a list whose entries, or whose entries' keys, are all different.
fn twice<'a>(schema: &JSONSchemaProps, items: &'a [Value]) -> Option<&'a str> {
    let key = match schema.x_kubernetes_list_type.as_deref()? {
        "map" => schema.x_kubernetes_list_map_keys.as_ref()?.first().map(String::as_str),
        "set" => None,
        _ => return None,
    };
    let texts = || items.iter().filter_map(|item| key.map_or(Some(item), |key| item.get(key))?.as_str());
    let mut rest = texts().enumerate();
    rest.find_map(|(n, text)| texts().take(n).any(|before| before == text).then_some(text))
}
