//! Texts with expressions in them, and data made of such texts.

use serde_json::{Value, json};

use super::condition::{ConditionError, Declared, Expression, MAX_PARTS, Missing, Seen};

/// A text with expressions in `{{ }}`. A text that is one expression and nothing else has the value of that, of whatever type.
#[derive(Debug, Clone)]
pub enum Template {
    /// No expression.
    Plain(String),
    /// One expression.
    Whole(Embedded),
    /// Texts and expressions.
    Mixed(Vec<Part>),
}

/// An expression of a template.
#[derive(Debug, Clone)]
pub struct Embedded(Expression);

/// A part of a template.
#[derive(Debug, Clone)]
pub enum Part {
    /// As it is.
    Text(String),
    /// What that gives.
    Value(Embedded),
}

impl Template {
    /// Reads and judges it.
    ///
    /// # Errors
    /// [`ConditionError`].
    pub fn compile(text: &str, declared: &Declared) -> Result<Self, ConditionError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").ok_or(ConditionError::Unclosed)?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Value(Embedded(Expression::compile(inside.trim(), declared)?)));
            if parts.len() > MAX_PARTS {
                return Err(ConditionError::TooManyParts);
            }
            rest = after;
        }
        if parts.is_empty() {
            return Ok(Self::Plain(text.to_owned()));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if let [Part::Value(value)] = parts.as_slice() {
            return Ok(Self::Whole(value.clone()));
        }
        Ok(Self::Mixed(parts))
    }

    /// Whether there is an expression in it.
    pub const fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// What it says.
    ///
    /// # Errors
    /// What is missing to say it.
    pub fn render(&self, facts: &mut Seen) -> Result<Value, Missing> {
        match self {
            Self::Plain(text) => Ok(json!(text)),
            Self::Whole(expression) => expression.0.json(facts),
            Self::Mixed(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(part) => text.push_str(part),
                        Part::Value(expression) => match expression.0.json(facts)? {
                            Value::String(part) => text.push_str(&part),
                            other => text.push_str(&other.to_string()),
                        },
                    }
                }
                Ok(json!(text))
            }
        }
    }
}

/// Free data whose texts are templates.
#[derive(Debug, Clone)]
pub enum Data {
    /// A text.
    Text(Template),
    /// Without an expression in it.
    Plain(Value),
    /// A list.
    List(Vec<Data>),
    /// An object.
    Object(Vec<(String, Data)>),
}

impl Data {
    /// Reads and judges it.
    ///
    /// # Errors
    /// Where the fault is, in names and numbers, and the fault.
    pub fn compile(value: &Value, declared: &Declared) -> Result<Self, (String, ConditionError)> {
        Ok(match value {
            Value::String(text) => {
                Self::Text(Template::compile(text, declared).map_err(|error| (String::new(), error))?)
            }
            Value::Array(list) => {
                let element = |(at, value): (usize, &Value)| {
                    Self::compile(value, declared).map_err(|(path, error)| (format!("[{at}]{path}"), error))
                };
                Self::List(list.iter().enumerate().map(element).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| match Self::compile(value, declared) {
                    Ok(data) => Ok((name.clone(), data)),
                    Err((path, error)) => Err((format!(".{name}{path}"), error)),
                };
                Self::Object(members.iter().map(member).collect::<Result<_, _>>()?)
            }
            plain => Self::Plain(plain.clone()),
        })
    }

    /// Whether there is an expression in it.
    pub fn is_plain(&self) -> bool {
        match self {
            Self::Text(template) => template.is_plain(),
            Self::Plain(_) => true,
            Self::List(list) => list.iter().all(Self::is_plain),
            Self::Object(members) => members.iter().all(|(_, data)| data.is_plain()),
        }
    }

    /// What it says.
    ///
    /// # Errors
    /// What is missing to say it.
    pub fn render(&self, facts: &mut Seen) -> Result<Value, Missing> {
        Ok(match self {
            Self::Text(template) => template.render(facts)?,
            Self::Plain(value) => value.clone(),
            Self::List(list) => Value::Array(list.iter().map(|data| data.render(facts)).collect::<Result<_, _>>()?),
            Self::Object(members) => {
                let member = |(name, data): &(String, Self)| Ok((name.clone(), data.render(facts)?));
                Value::Object(members.iter().map(member).collect::<Result<_, Missing>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::registry::AttributeType;
    use crate::trigger::Facts;
    use crate::trigger::condition::sample;

    fn declared() -> Declared {
        Declared::from([("cart".to_owned(), AttributeType::Number)])
    }

    fn facts(attributes: Value) -> Seen {
        let facts = json!(sample(&declared(), &BTreeSet::new()));
        let mut facts = facts.as_object().unwrap().clone();
        facts.insert("attributes".to_owned(), attributes);
        facts.insert("zone".to_owned(), json!({"id": "tills", "metadata": {"link": "app://tills"}, "labels": {}}));
        Facts::from_json(&facts).seen()
    }

    #[test]
    fn what_has_members_is_written_in_the_order_of_their_names() {
        let data = Data::compile(&json!("{{ local }}"), &declared()).unwrap();
        let said = data.render(&mut facts(json!({}))).unwrap();
        let names: Vec<&String> = said.as_object().unwrap().keys().collect();
        assert_eq!(names, ["date", "day", "hour", "minute", "month", "time", "weekday"]);
    }

    #[test]
    fn templates_keep_types_where_they_are_one_expression() {
        let data = json!({"cart": "{{ attributes.cart }}", "link": "{{zone.metadata.link}}?cart={{attributes.cart}}",
                          "plain": [1, "x", null], "nested": {"n": "{{ visit.count + 1 }}"}});
        let data = Data::compile(&data, &declared()).unwrap();
        assert!(!data.is_plain());
        let said = data.render(&mut facts(json!({"cart": 62.5}))).unwrap();
        assert_eq!(
            said,
            json!({"cart": 62.5, "link": "app://tills?cart=62.5", "plain": [1, "x", null], "nested": {"n": 2}})
        );
        assert_eq!(data.render(&mut facts(json!({}))), Err(Missing("\"cart\" is not known".to_owned())));
        let fault = Data::compile(&json!({"a": ["x", "{{ nothing }}"]}), &declared()).unwrap_err();
        assert_eq!(fault.0, ".a[1]");
        assert!(Template::compile("{{ a", &declared()).is_err());
    }
}
