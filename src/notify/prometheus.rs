//! Questions to a Prometheus-compatible server: one instant query, and what it
//! gives, within limits.

use std::collections::BTreeMap;

use http::Method;
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Access, ExchangeError, Reach, Target,
    exchange::{self, Client},
};

/// The largest answer.
const MOST_BYTES: usize = 1 << 20;
/// The most series of an answer.
const MOST_SERIES: usize = 1_000;
/// How long the server may work on it: less than it is waited for.
const SERVER_TIMEOUT: &str = "5s";

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value now.
    pub value: f64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The server could not be asked, or refused.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// What came is no answer to a query.
    #[error("{0} gave what is no answer of Prometheus to a query")]
    NoAnswer(Target),
    /// The query gives no values of this moment.
    #[error("the query gives {0}, and a vector or a scalar is needed")]
    WrongType(&'static str),
    /// The query gives too much.
    #[error("the query gives {0} series, more than {MOST_SERIES}")]
    TooMany(usize),
}

/// Asks. Cheap to clone.
#[derive(Clone)]
pub struct Inquirer(Client);

impl Default for Inquirer {
    fn default() -> Self {
        Self(Client::new())
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

#[derive(Deserialize)]
struct Sample {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Inquirer {
    /// What a query gives now.
    ///
    /// # Errors
    /// The server cannot be asked, or gives what cannot be used.
    pub async fn ask(
        &self,
        server: &Target,
        reach: &Reach,
        access: &Access,
        query: &str,
    ) -> Result<Vec<Series>, QueryError> {
        let asked = server.with_query("api/v1/query", &[("query", query), ("timeout", SERVER_TIMEOUT)]);
        let request = exchange::request(&asked, Method::GET)
            .body(Full::new(Bytes::new()))
            .map_err(|error| ExchangeError::Broken(server.clone(), error.to_string()))?;
        let body = self.0.send(&asked, reach, access, request, Some(MOST_BYTES)).await?;
        read(server, &body)
    }
}

fn read(server: &Target, body: &[u8]) -> Result<Vec<Series>, QueryError> {
    // The URL may be of any server: what it says is not repeated, and the words of
    // the reader would quote it.
    let no_answer = || QueryError::NoAnswer(server.clone());
    let answer: Answer = serde_json::from_slice(body).map_err(|_| no_answer())?;
    let samples: Vec<Sample> = match answer.data.result_type.as_str() {
        "vector" => serde_json::from_value(answer.data.result).map_err(|_| no_answer())?,
        "scalar" => {
            let value = serde_json::from_value(answer.data.result).map_err(|_| no_answer())?;
            vec![Sample { metric: BTreeMap::new(), value }]
        }
        "matrix" => return Err(QueryError::WrongType("a matrix")),
        "string" => return Err(QueryError::WrongType("a string")),
        _ => return Err(no_answer()),
    };
    if samples.len() > MOST_SERIES {
        return Err(QueryError::TooMany(samples.len()));
    }
    let series = |sample: Sample| {
        let (_, text) = sample.value;
        let value = text.parse().map_err(|_| no_answer())?;
        Ok(Series { labels: sample.metric, value })
    };
    samples.into_iter().map(series).collect()
}

/// The answer as a condition sees it: a list of `labels` and `value`. What is
/// no number (0/0) is null, so that a condition on it is neither true nor
/// false.
pub fn as_result(series: &[Series]) -> Value {
    series.iter().map(|series| json!({"labels": series.labels, "value": series.value})).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::vector(
        json!({"resultType": "vector", "result": [{"metric": {"app": "shop"}, "value": [1.5, "0.25"]}]}),
        Ok(json!([{"labels": {"app": "shop"}, "value": 0.25}]))
    )]
    #[case::scalar(json!({"resultType": "scalar", "result": [1.5, "7"]}), Ok(json!([{"labels": {}, "value": 7.0}])))]
    #[case::nothing(json!({"resultType": "vector", "result": []}), Ok(json!([])))]
    #[case::no_number(
        json!({"resultType": "vector", "result": [{"metric": {}, "value": [1, "NaN"]}]}),
        Ok(json!([{"labels": {}, "value": null}]))
    )]
    #[case::matrix(
        json!({"resultType": "matrix", "result": []}),
        Err("the query gives a matrix, and a vector or a scalar is needed")
    )]
    #[case::of_another_server(
        json!("a secret"),
        Err("http://prometheus:9090 gave what is no answer of Prometheus to a query")
    )]
    #[case::another_type(json!({"resultType": "a secret", "result": []}), Err("gave what is no answer of Prometheus"))]
    #[case::nonsense(json!({"resultType": "vector", "result": 7}), Err("gave what is no answer of Prometheus"))]
    fn an_answer_is_read_or_refused(#[case] data: Value, #[case] expected: Result<Value, &str>) {
        let server: Target = "http://prometheus:9090".parse().unwrap();
        let body = json!({"status": "success", "data": data}).to_string();
        let read = read(&server, body.as_bytes()).map(|series| as_result(&series)).map_err(|error| error.to_string());
        match (read, expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected),
            (Err(error), Err(words)) => assert!(error.contains(words) && !error.contains("secret"), "{error}"),
            (read, expected) => assert_eq!(read.map_err(|_| ""), expected),
        }
    }
}
