//! A condition on what a query gave, in CEL, by the evaluator of expressions.

use std::sync::Arc;

use cel::{Context, Env};
use serde_json::Value;

use super::expression::{Compiled, ExpressionProblem, MOST_STEPS, Size, compile, run};

/// What a condition sees.
const VARIABLE: &str = "result";

/// A condition, compiled.
pub struct Condition {
    compiled: Compiled,
    env: Arc<Env>,
}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn compile(text: &str) -> Result<Self, String> {
        let env = Arc::new(Env::stdlib());
        match compile(&env, text, VARIABLE) {
            Ok(compiled) => Ok(Self { compiled, env }),
            Err(ExpressionProblem::UnknownName(name)) => {
                Err(format!("there is no `{name}`; what the query gave is called `{VARIABLE}`"))
            }
            Err(problem) => Err(problem.to_string()),
        }
    }

    /// Whether it holds for what a query gave.
    ///
    /// # Errors
    /// It can be told neither way: an item or a field is not there, a value is
    /// not of the right type, or it would cost too much.
    pub fn holds(&self, result: &Value) -> Result<bool, String> {
        let bound = cel::to_value(result).map_err(|_| "the result cannot be given to a condition".to_owned())?;
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.add_variable_from_value(VARIABLE, bound);
        match run(&self.compiled, &context, Size::of(result), &mut { MOST_STEPS })? {
            Some(cel::Value::Bool(holds)) => Ok(holds),
            Some(_) => Err("the condition gives no truth value".to_owned()),
            None => Err("the condition names an item or a field that is not there".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::holds("result[0].value < 0.05", json!([{"labels": {}, "value": 0.01}]), Ok(true))]
    #[case::fails("result[0].value < 0.05", json!([{"labels": {}, "value": 0.5}]), Ok(false))]
    #[case::each("result.all(series, series.value < 1.0)", json!([{"value": 0.5}, {"value": 1.5}]), Ok(false))]
    #[case::of_none("result.all(series, series.value < 1.0)", json!([]), Ok(true))]
    #[case::no_data("result[0].value < 0.05", json!([]), Err("names an item or a field that is not there"))]
    #[case::no_number("result[0].value < 0.05", json!([{"value": null}]), Err("cannot be used on these types"))]
    #[case::no_truth("result[0].value", json!([{"value": 1.0}]), Err("gives no truth value"))]
    #[case::wrong_name("object.value < 1.0", json!([]), Err("there is no `object`; what the query gave is called `result`"))]
    #[case::syntax("result[", json!([]), Err("does not parse"))]
    fn a_condition_holds_or_fails_or_cannot_be_told(
        #[case] text: &str,
        #[case] result: Value,
        #[case] expected: Result<bool, &str>,
    ) {
        let told = Condition::compile(text).and_then(|condition| condition.holds(&result));
        match (told, expected) {
            (Err(why), Err(words)) => assert!(why.contains(words), "{why}"),
            (told, expected) => assert_eq!(told, expected.map_err(str::to_owned)),
        }
    }
}
