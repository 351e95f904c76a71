//! Expressions in CEL, bounded in what they cost.
//!
//! An expression sees one variable and no clock. What it may cost is known
//! before it runs: from its length, its size, how deep its loops nest, and the
//! size of the value it runs on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::common::ast::{EntryExpr, Expr};
use cel::{Context, Env, ExecutionError, IdedExpr, Program};
use serde_json::Value;
use thiserror::Error;

/// Longest expression, in bytes.
const LONGEST: usize = 4096;
/// Most nodes of one expression, its macros expanded.
const MOST_NODES: usize = 500;
/// Deepest nesting of `all`, `exists`, `map` and the like.
const DEEPEST: u32 = 2;
/// Most steps of all evaluations on one object, estimated from expressions and
/// object.
pub(super) const MOST_STEPS: usize = 1_000_000;

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpressionProblem {
    /// It is longer than allowed.
    #[error("has {0} bytes, more than {LONGEST}")]
    TooLong(usize),
    /// It is larger than allowed.
    #[error("has {0} parts, more than {MOST_NODES}")]
    TooLarge(usize),
    /// Its loops nest deeper than allowed.
    #[error("nests loops (all, exists, map, filter) deeper than {DEEPEST}")]
    TooDeep,
    /// It does not parse.
    #[error("does not parse: {0}")]
    Syntax(String),
    /// It names what there is not.
    #[error("there is no `{0}`; the object is called `object`")]
    UnknownName(String),
}

/// An expression, compiled, with what it may cost.
pub(super) struct Compiled {
    program: Program,
    nodes: usize,
    depth: u32,
    /// How many times two values are joined.
    joins: usize,
}

/// Compiles an expression that sees one variable of this name.
pub(super) fn compile(env: &Env, text: &str, name: &'static str) -> Result<Compiled, ExpressionProblem> {
    if text.len() > LONGEST {
        return Err(ExpressionProblem::TooLong(text.len()));
    }
    let program =
        catch_unwind(AssertUnwindSafe(|| env.compile(text)))
            .map_err(|_| ExpressionProblem::Syntax("the parser broke off".to_owned()))?
            .map_err(|errors| {
                let first = errors.errors.first();
                ExpressionProblem::Syntax(first.map_or_else(String::new, |error| {
                    format!("at {}:{}: {}", error.pos.0, error.pos.1, error.msg.trim())
                }))
            })?;
    let mut walk = Walk { nodes: 0, depth: 0, joins: 0, names: vec![name], unknown: None };
    walk.visit(program.expression(), 0);
    let Walk { nodes, depth, joins, unknown, .. } = walk;
    if nodes > MOST_NODES {
        return Err(ExpressionProblem::TooLarge(nodes));
    }
    if depth > DEEPEST {
        return Err(ExpressionProblem::TooDeep);
    }
    match unknown {
        Some(name) => Err(ExpressionProblem::UnknownName(name)),
        None => Ok(Compiled { program, nodes, depth, joins }),
    }
}

/// Evaluates an expression; `None` where a field that it needs is not there.
/// What it may cost is taken off the budget before it runs.
pub(super) fn run(
    compiled: &Compiled,
    context: &Context<'_, '_>,
    size: Size,
    budget: &mut usize,
) -> Result<Option<cel::Value>, String> {
    // A list that is looped over may have been joined with others before.
    let length = size.longest.max(1).saturating_mul(1 + compiled.joins);
    let steps = (0..compiled.depth).fold(compiled.nodes, |steps, _| steps.saturating_mul(length));
    let Some(left) = budget.checked_sub(steps) else {
        return Err(format!("it could take {steps} steps, more than the {budget} that are left of {MOST_STEPS}"));
    };
    *budget = left;
    let outcome = catch_unwind(AssertUnwindSafe(|| compiled.program.execute(context)));
    match outcome {
        Ok(Ok(value)) => Ok(Some(value)),
        Ok(Err(ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_))) => Ok(None),
        Ok(Err(error)) => Err(describe(&error)),
        Err(_) => Err("the evaluation broke off".to_owned()),
    }
}

/// What failed, without the values that it failed on: they may be secret.
fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        ExecutionError::NoSuchOverload(overload) => {
            format!("`{}` cannot be used on these types", overload.function())
        }
        ExecutionError::UnexpectedType { got, want } => format!("found {got} where {want} is needed"),
        ExecutionError::UnsupportedBinaryOperator(operator, ..) | ExecutionError::Overflow(operator, ..) => {
            format!("`{operator}` cannot be used on these values")
        }
        ExecutionError::NotSupportedAsMethod { method, .. } => format!("`{method}` cannot be used on this value"),
        ExecutionError::FunctionError { function, .. } => format!("`{function}` failed"),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function was given {actual} values instead of {expected}")
        }
        ExecutionError::ValuesNotComparable(..) => "two values cannot be compared".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".to_owned(),
        _ => "a value is not of the type that is needed".to_owned(),
    }
}

/// Counts the parts and the nesting of an expression, and looks for names that
/// are not bound.
struct Walk<'a> {
    nodes: usize,
    depth: u32,
    joins: usize,
    names: Vec<&'a str>,
    unknown: Option<String>,
}

/// Names of types, which may stand where a variable does.
const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "dyn", "optional"];

impl<'a> Walk<'a> {
    fn visit(&mut self, expression: &'a IdedExpr, depth: u32) {
        self.nodes += 1;
        self.depth = self.depth.max(depth);
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => {
                if !self.names.contains(&name.as_str()) && !TYPES.contains(&name.as_str()) {
                    self.unknown.get_or_insert_with(|| name.clone());
                }
            }
            Expr::Call(call) => {
                // Expanded macros join too, one item at a time, inside their loop.
                self.joins += usize::from(call.func_name == "_+_");
                call.target.iter().for_each(|target| self.visit(target, depth));
                call.args.iter().for_each(|argument| self.visit(argument, depth));
            }
            Expr::Select(select) => self.visit(&select.operand, depth),
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element, depth)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr, depth)),
            Expr::Struct(made) => made.entries.iter().for_each(|entry| self.entry(&entry.expr, depth)),
            Expr::Comprehension(each) => {
                self.visit(&each.iter_range, depth);
                self.visit(&each.accu_init, depth);
                let bound = self.names.len();
                self.names.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
                self.names.extend(each.iter_var2.as_deref());
                for part in [&each.loop_cond, &each.loop_step, &each.result] {
                    self.visit(part, depth + 1);
                }
                self.names.truncate(bound);
            }
        }
    }

    fn entry(&mut self, entry: &'a EntryExpr, depth: u32) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value, depth),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key, depth);
                self.visit(&entry.value, depth);
            }
        }
    }
}

/// How large an object is for an expression.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    /// Entries of its longest list or map.
    longest: usize,
    /// Bytes of all its text.
    pub(super) text: usize,
}

impl Size {
    pub(super) fn of(value: &Value) -> Self {
        let mut size = Self::default();
        size.add(value);
        size
    }

    fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text += text.len(),
            Value::Array(items) => {
                self.longest = self.longest.max(items.len());
                items.iter().for_each(|item| self.add(item));
            }
            Value::Object(fields) => {
                self.longest = self.longest.max(fields.len());
                for (name, value) in fields {
                    self.text += name.len();
                    self.add(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
