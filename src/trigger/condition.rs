//! Conditions in CEL, and texts with expressions in them, over what is known of an event: [`Facts`].
//!
//! A condition is judged when it is read: names that are not declared, what does not go together, and what could take long
//! are refused. After that it takes a bounded number of steps, whatever it meets: texts are short, lists have at most
//! [`MOST_ELEMENTS`] elements, and loops are nested once at most.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::objects::Key;
use cel::{Context, Env, ExecutionError, Program};
use serde_json::{Map, Value, json};

use super::Facts;
use crate::registry::{AttributeType, Trigger};

/// Bytes of an expression.
const MAX_TEXT: usize = 2_000;
/// Steps that an expression may take.
const MAX_STEPS: usize = 200_000;
/// Elements of a list that an expression sees: longer lists are cut.
pub const MOST_ELEMENTS: usize = 64;
/// How deep an expression may go: brackets within brackets, one operator after another.
const MAX_DEPTH: usize = 32;
/// Operators of an expression.
const MAX_OPERATORS: usize = 100;
/// Bytes of a text that an expression sees: longer ones are cut.
const MAX_FACT: usize = 4_096;
/// Expressions in one text.
pub(super) const MAX_PARTS: usize = 32;

/// Facts with fixed names: the name, and what it has. Where it has nothing here, it may have anything.
pub(super) const DECLARED: [(&str, &[&str]); 9] = [
    ("device", &["id", "kind", "labels", "consent"]),
    ("zone", &["id", "name", "level", "labels", "metadata"]),
    ("visit", &["id", "count", "duration_s", "since_last_s", "initial"]),
    ("site_visit", &["count", "duration_s", "since_last_s"]),
    ("local", &["date", "time", "hour", "minute", "weekday", "day", "month"]),
    ("event", &["kind", "reason", "distance_m", "occupancy", "away_s"]),
    ("site", &["id", "name"]),
    ("trigger", &["id", "name", "campaign"]),
    ("attributes", &[]),
];

/// Functions of CEL that may be called; operators and macros aside.
const FUNCTIONS: [&str; 8] = ["size", "contains", "startsWith", "endsWith", "int", "uint", "double", "string"];

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// It is too long.
    #[error("it has {0} bytes, more than {MAX_TEXT}")]
    TooLong(usize),
    /// It goes too deep.
    #[error(
        "it has more than {MAX_OPERATORS} operators, or {MAX_DEPTH} brackets within each other; write several rules"
    )]
    TooDeep,
    /// It is no CEL.
    #[error("it cannot be read: {0}")]
    Syntax(String),
    /// It names what nobody declared.
    #[error("\"{0}\" is not declared{1}")]
    Undeclared(String, String),
    /// It calls what there is not.
    #[error("there is no function \"{0}\" here")]
    NoFunction(String),
    /// It could take too many steps.
    #[error("it could take more than {MAX_STEPS} steps; loops within loops within loops are too much")]
    TooManySteps,
    /// It fails on sample facts.
    #[error("on sample facts it fails: {0}")]
    Fails(String),
    /// It is neither true nor false.
    #[error("it gives {0} on sample facts, not true or false")]
    NotBool(String),
    /// A text has an opening `{{` without its end.
    #[error("\"{{{{\" has no \"}}}}\"")]
    Unclosed,
    /// A text has too many expressions.
    #[error("it has more than {MAX_PARTS} expressions")]
    TooManyParts,
}

fn environment() -> Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    Arc::clone(ENVIRONMENT.get_or_init(|| Arc::new(Env::stdlib())))
}

/// Facts as expressions see them, for all rules of an event: each is put in their form when the first one asks for it.
pub struct Seen {
    facts: Facts,
    /// The rule that asks.
    trigger: Option<Arc<Trigger>>,
    context: Context<'static, 'static>,
    /// The facts that `context` has.
    put: BTreeSet<&'static str>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Facts {
    /// The facts for expressions.
    pub fn seen(&self) -> Seen {
        Seen { facts: self.clone(), trigger: None, context: Context::with_env(environment()), put: BTreeSet::new() }
    }
}

impl Seen {
    /// The same, of that rule.
    pub fn of_trigger(&mut self, rule: &Arc<Trigger>) {
        self.trigger = Some(Arc::clone(rule));
        self.put.remove("trigger");
    }

    /// The facts that expressions see.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    fn with(&mut self, names: &[&'static str]) -> &Context<'static, 'static> {
        for name in names {
            if self.put.contains(name) {
                continue;
            }
            let value = match &self.trigger {
                Some(rule) if *name == "trigger" => {
                    to_cel(&json!({"id": rule.id, "name": rule.name, "campaign": rule.campaign}))
                }
                _ => match self.facts.get(name) {
                    Some(value) => to_cel(value),
                    None => continue,
                },
            };
            self.context.add_variable_from_value(*name, value);
            self.put.insert(name);
        }
        &self.context
    }
}

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => cel::Value::Int(whole),
            (None, Some(number)) => cel::Value::Float(number),
            (None, None) => cel::Value::Null,
        },
        Value::String(text) => {
            let mut end = text.len().min(MAX_FACT);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            cel::Value::String(Arc::new(text[..end].to_owned()))
        }
        Value::Array(list) => cel::Value::List(Arc::new(list.iter().take(MOST_ELEMENTS).map(to_cel).collect())),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (Key::from(name.as_str()), to_cel(value)));
            members.collect::<HashMap<Key, cel::Value>>().into()
        }
    }
}

fn from_cel(value: &cel::Value) -> Option<Value> {
    Some(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(flag) => json!(flag),
        cel::Value::Int(number) => json!(number),
        cel::Value::UInt(number) => json!(number),
        cel::Value::Float(number) => Value::Number(serde_json::Number::from_f64(*number)?),
        cel::Value::String(text) => json!(text.as_str()),
        cel::Value::List(list) => Value::Array(list.iter().map(from_cel).collect::<Option<_>>()?),
        cel::Value::Map(map) => {
            let members = map.map.iter().map(|(name, value)| Some((name.to_string(), from_cel(value)?)));
            // In the order of their names: its own is another one each time.
            let members: BTreeMap<String, Value> = members.collect::<Option<_>>()?;
            Value::Object(members.into_iter().collect())
        }
        _ => return None,
    })
}

/// What an expression lacks to have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub String);

fn missing(error: &ExecutionError) -> Missing {
    Missing(match error {
        ExecutionError::NoSuchKey(key) => format!("\"{key}\" is not known"),
        other => {
            let mut words = other.to_string();
            let mut end = words.len().min(200);
            while !words.is_char_boundary(end) {
                end -= 1;
            }
            words.truncate(end);
            words
        }
    })
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    program: Arc<Program>,
    /// The facts that it names.
    names: Arc<[&'static str]>,
}

/// The attributes that are declared.
pub type Declared = BTreeMap<String, AttributeType>;

impl Expression {
    pub(super) fn compile(text: &str, declared: &Declared) -> Result<Self, ConditionError> {
        if text.len() > MAX_TEXT {
            return Err(ConditionError::TooLong(text.len()));
        }
        if is_tangled(text) {
            return Err(ConditionError::TooDeep);
        }
        let program = environment().compile(text).map_err(|errors| {
            let first = errors.errors.first();
            // What could stand there in place of it are dozens of signs.
            let words = first.and_then(|error| error.msg.split(" expecting").next()).unwrap_or_default();
            ConditionError::Syntax(words.replace('\n', " "))
        })?;
        let mut walk =
            Walk { declared, scope: Vec::new(), names: BTreeSet::new(), labels: BTreeSet::new(), steps: 0, depth: 0 };
        walk.expression(program.expression(), 1, 0)?;
        let Walk { labels, names, .. } = walk;
        let expression = Self { program: Arc::new(program), names: names.into_iter().collect() };
        expression.try_on(&sample(declared, &labels))?;
        Ok(expression)
    }

    fn value(&self, facts: &mut Seen) -> Result<cel::Value, ExecutionError> {
        self.program.execute(facts.with(&self.names))
    }

    /// What it gives, as JSON.
    pub(super) fn json(&self, facts: &mut Seen) -> Result<Value, Missing> {
        let value = self.value(facts).map_err(|error| missing(&error))?;
        from_cel(&value).ok_or_else(|| Missing(format!("{} cannot be written", value.type_of())))
    }

    /// Metadata of zones may be anything: what is not in the sample is no fault.
    fn try_on(&self, facts: &Facts) -> Result<Option<cel::Value>, ConditionError> {
        match self.value(&mut facts.seen()) {
            Ok(value) => Ok(Some(value)),
            Err(ExecutionError::NoSuchKey(_)) => Ok(None),
            Err(error) => Err(ConditionError::Fails(missing(&error).0)),
        }
    }
}

/// Whether the parser would have to go deep to read it. Most operators have two characters.
fn is_tangled(text: &str) -> bool {
    let (mut depth, mut deepest, mut signs, mut longest, mut operators) = (0_usize, 0, 0_usize, 0, 0_usize);
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '.' | '?' | '=' | '<' | '>' | '&' | '|' | '+' | '-' | '*' | '/' | '%' => operators += 1,
            _ => {}
        }
        signs = if matches!(c, '!' | '-') { signs + 1 } else { 0 };
        deepest = deepest.max(depth);
        longest = longest.max(signs);
    }
    deepest > MAX_DEPTH || longest > MAX_DEPTH || operators > 2 * MAX_OPERATORS
}

/// Facts as they could be.
pub(super) fn sample(declared: &Declared, labels: &BTreeSet<String>) -> Facts {
    let labels: Map<String, Value> = labels.iter().map(|label| (label.clone(), json!("label"))).collect();
    let attributes: Map<String, Value> = declared
        .iter()
        .map(|(name, of)| {
            let value = match of {
                AttributeType::Number => json!(1.5),
                AttributeType::String => json!("text"),
                AttributeType::Bool => json!(true),
                AttributeType::List => json!(["one", "two"]),
            };
            (name.clone(), value)
        })
        .collect();
    let facts = json!({
        "device": {"id": "d1", "kind": "customer", "labels": labels, "consent": ["presence", "marketing"]},
        "zone": {"id": "z1", "name": "Zone", "level": 0, "labels": labels, "metadata": {}},
        "visit": {"id": "00000000-0000-0000-0000-000000000000", "count": 1, "duration_s": 1.5, "since_last_s": 1.5, "initial": false},
        "site_visit": {"count": 1, "duration_s": 1.5, "since_last_s": 1.5},
        "local": {"date": "2026-01-01", "time": "12:00", "hour": 12, "minute": 0, "weekday": "thursday", "day": 1, "month": 1},
        "event": {"kind": "entered", "reason": "left", "distance_m": 1.5, "occupancy": 1, "away_s": 1.5},
        "site": {"id": "s1", "name": "Store"},
        "trigger": {"id": "t1", "name": "Trigger", "campaign": "c1"},
        "attributes": attributes,
    });
    Facts::from_json(facts.as_object().unwrap_or(&Map::new()))
}

/// Goes through an expression, and counts what it may take.
struct Walk<'a> {
    declared: &'a Declared,
    /// Names that loops give.
    scope: Vec<String>,
    /// Facts that are asked for.
    names: BTreeSet<&'static str>,
    /// Labels that are asked for.
    labels: BTreeSet<String>,
    steps: usize,
    depth: usize,
}

impl Walk<'_> {
    fn expression(&mut self, node: &IdedExpr, times: usize, nested: usize) -> Result<(), ConditionError> {
        // Long sums and chains are deep in the tree, though not in brackets.
        if self.depth > 2 * MAX_OPERATORS {
            return Err(ConditionError::TooDeep);
        }
        self.depth += 1;
        let judged = self.node(node, times, nested);
        self.depth -= 1;
        judged
    }

    fn node(&mut self, node: &IdedExpr, times: usize, nested: usize) -> Result<(), ConditionError> {
        self.steps = self.steps.saturating_add(times);
        if self.steps > MAX_STEPS {
            return Err(ConditionError::TooManySteps);
        }
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                self.field(&select.operand.expr, &select.field)?;
                self.expression(&select.operand, times, nested)
            }
            Expr::Call(call) => {
                let is_operator = call.func_name.starts_with(['_', '!', '-', '@']);
                if !is_operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    return Err(ConditionError::NoFunction(call.func_name.clone()));
                }
                // `device["id"]` is `device.id`.
                if let ("_[_]", [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }]) =
                    (call.func_name.as_str(), call.args.as_slice())
                {
                    self.field(&of.expr, name.inner())?;
                }
                call.target.iter().try_for_each(|target| self.expression(target, times, nested))?;
                call.args.iter().try_for_each(|argument| self.expression(argument, times, nested))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expression(element, times, nested)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key, times, nested)?;
                    self.expression(&entry.value, times, nested)
                }
                EntryExpr::StructField(field) => self.expression(&field.value, times, nested),
            }),
            Expr::Struct(of) => Err(ConditionError::Undeclared(of.type_name.clone(), String::new())),
            Expr::Comprehension(of) => {
                if nested == 2 {
                    return Err(ConditionError::TooManySteps);
                }
                let before = self.steps;
                self.expression(&of.iter_range, times, nested)?;
                // A range may be put together of several lists.
                let parts = (self.steps - before).div_ceil(times).div_ceil(4);
                let times = times.saturating_mul(MOST_ELEMENTS).saturating_mul(parts.max(1));
                self.expression(&of.accu_init, times, nested)?;
                let depth = self.scope.len();
                self.scope.push(of.iter_var.clone());
                self.scope.extend(of.iter_var2.clone());
                self.scope.push(of.accu_var.clone());
                for part in [&of.loop_cond, &of.loop_step, &of.result] {
                    self.expression(part, times, nested + 1)?;
                }
                self.scope.truncate(depth);
                Ok(())
            }
        }
    }

    fn name(&mut self, name: &str) -> Result<(), ConditionError> {
        if self.scope.iter().any(|known| known == name) {
            return Ok(());
        }
        if let Some((known, _)) = DECLARED.iter().find(|(known, _)| *known == name) {
            self.names.insert(known);
            return Ok(());
        }
        if FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let known: Vec<&str> = DECLARED.iter().map(|(known, _)| *known).collect();
        Err(ConditionError::Undeclared(name.to_owned(), format!("; there are {}", known.join(", "))))
    }

    /// Whether the thing named by `of` may have that field.
    fn field(&mut self, of: &Expr, field: &str) -> Result<(), ConditionError> {
        match of {
            Expr::Ident(root) if !self.scope.contains(root) => {
                if root == "attributes" {
                    if self.declared.contains_key(field) {
                        return Ok(());
                    }
                    let help = "; declare it under [attributes]".to_owned();
                    return Err(ConditionError::Undeclared(format!("attributes.{field}"), help));
                }
                match DECLARED.iter().find(|(known, _)| known == root) {
                    Some((_, fields)) if !fields.contains(&field) => Err(ConditionError::Undeclared(
                        format!("{root}.{field}"),
                        format!("; {root} has {}", fields.join(", ")),
                    )),
                    _ => Ok(()),
                }
            }
            Expr::Select(select) if select.field == "labels" => {
                self.labels.insert(field.to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A condition.
#[derive(Debug, Clone)]
pub struct Condition(Expression);

impl Condition {
    /// Reads and judges it.
    ///
    /// # Errors
    /// [`ConditionError`].
    pub fn compile(text: &str, declared: &Declared) -> Result<Self, ConditionError> {
        let expression = Expression::compile(text, declared)?;
        let labels = BTreeSet::new();
        match expression.try_on(&sample(declared, &labels))? {
            None | Some(cel::Value::Bool(_)) => Ok(Self(expression)),
            Some(other) => Err(ConditionError::NotBool(other.type_of().to_string())),
        }
    }

    /// Whether it is true.
    ///
    /// # Errors
    /// What is missing to say so.
    pub fn holds(&self, facts: &mut Seen) -> Result<bool, Missing> {
        match self.0.value(facts).map_err(|error| missing(&error))? {
            cel::Value::Bool(flag) => Ok(flag),
            other => Err(Missing(format!("it gives {}, not true or false", other.type_of()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Declared {
        Declared::from([
            ("cart".to_owned(), AttributeType::Number),
            ("tier".to_owned(), AttributeType::String),
            ("wishes".to_owned(), AttributeType::List),
            ("known".to_owned(), AttributeType::Bool),
        ])
    }

    fn facts(attributes: Value) -> Seen {
        let facts = json!(sample(&declared(), &BTreeSet::new()));
        let mut facts = facts.as_object().unwrap().clone();
        facts.insert("attributes".to_owned(), attributes);
        Facts::from_json(&facts).seen()
    }

    fn holds(text: &str, attributes: Value) -> Result<bool, Missing> {
        Condition::compile(text, &declared()).unwrap().holds(&mut facts(attributes))
    }

    #[test]
    fn numbers_compare_whether_written_with_a_point_or_without() {
        assert_eq!(holds("attributes.cart > 50", json!({"cart": 62.5})), Ok(true));
        assert_eq!(holds("attributes.cart > 50.5", json!({"cart": 62})), Ok(true));
        assert_eq!(holds("attributes.cart >= 62", json!({"cart": 62.0})), Ok(true));
        assert_eq!(holds("attributes.cart == 62", json!({"cart": 62.0})), Ok(true));
        assert_eq!(holds("visit.count > 0 && local.weekday in ['thursday', 'friday']", json!({})), Ok(true));
    }

    #[test]
    fn what_is_missing_is_named_and_can_be_asked_for() {
        assert_eq!(holds("attributes.cart > 50", json!({})), Err(Missing("\"cart\" is not known".to_owned())));
        assert_eq!(holds("has(attributes.cart) && attributes.cart > 50", json!({})), Ok(false));
        assert_eq!(holds("!has(device.labels.tier)", json!({})), Ok(true));
        assert_eq!(holds("'a' in attributes.wishes", json!({"wishes": ["b", "a"]})), Ok(true));
        assert_eq!(holds("attributes.wishes.exists(wish, wish.startsWith('b'))", json!({"wishes": ["b"]})), Ok(true));
        assert_eq!(
            holds("device.labels['tier'] == 'gold'", json!({})),
            Err(Missing("\"tier\" is not known".to_owned()))
        );
    }

    #[test]
    fn every_function_that_may_be_called_is_there() {
        for text in [
            "size(attributes.wishes) == 2",
            "device.id.contains('d') && device.id.startsWith('d') && device.id.endsWith('1')",
            "int('1') == 1 && uint('1') == 1u && double('1') == 1.0 && string(1) == '1'",
        ] {
            assert_eq!(holds(text, json!({"wishes": ["a", "b"]})), Ok(true), "{text}");
        }
        // One for each.
        assert_eq!(FUNCTIONS.len(), 8);
    }

    #[test]
    fn what_cannot_be_is_refused_when_it_is_read() {
        for (text, words) in [
            ("attributes.car > 5", "\"attributes.car\" is not declared; declare it under [attributes]"),
            ("attributes['car'] > 5", "\"attributes.car\" is not declared; declare it under [attributes]"),
            ("device.name == 'x'", "\"device.name\" is not declared; device has id, kind, labels, consent"),
            ("cart > 5", "\"cart\" is not declared; there are device, zone"),
            ("visit.count", "it gives int on sample facts, not true or false"),
            ("attributes.tier > 5", "on sample facts it fails"),
            ("now() > 5", "there is no function \"now\" here"),
            ("max(1, 2) > 1", "there is no function \"max\" here"),
            ("1 +", "it cannot be read"),
            ("", "it cannot be read"),
            (
                "attributes.wishes.all(a, attributes.wishes.all(b, attributes.wishes.all(c, a == b && b == c)))",
                "loops within",
            ),
            (&"!".repeat(3_000), "it has 3000 bytes"),
            (&"(".repeat(1_500), "it has more than 100 operators"),
            (&"-".repeat(1_500), "it has more than 100 operators"),
            (&"true?".repeat(300), "it has more than 100 operators"),
            (&format!("true{}", "&&true".repeat(99)), ""),
            (&format!("1{} > 0", "+1".repeat(190)), ""),
            (&format!("{}true{}", "!(".repeat(31), ")".repeat(31)), ""),
            (&format!("1{} > 0", "+1".repeat(900)), "it has more than 100 operators"),
            (&format!("device{}", ".x".repeat(900)), "it has more than 100 operators"),
            (&format!("{}1", "1==".repeat(600)), "it has more than 100 operators"),
            (&format!("{}{}", "(".repeat(33), ")".repeat(33)), "it has more than 100 operators"),
            (&format!("{}1{}", "(".repeat(31), ")".repeat(31)), "it gives int"),
        ] {
            let error = Condition::compile(text, &declared()).err().map_or_else(String::new, |e| e.to_string());
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_long_expression_within_a_loop_is_too_much() {
        let long = "a == 'x' || ".repeat(45);
        let text = format!("attributes.wishes.all(b, attributes.wishes.all(a, {long} a == b))");
        assert_eq!(Condition::compile(&text, &declared()).unwrap_err(), ConditionError::TooManySteps);
    }
}
