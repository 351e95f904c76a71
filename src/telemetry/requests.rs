//! Counts the requests to an API server, as a layer of its client.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Request, Response, header};
use tower::{Layer, Service};

use super::Metrics;

/// A layer that counts each request by verb and class of the answer.
#[derive(Debug, Clone)]
pub struct CountRequests(Metrics);

impl CountRequests {
    /// Counts into these metrics.
    pub fn new(metrics: Metrics) -> Self {
        Self(metrics)
    }
}

impl<S> Layer<S> for CountRequests {
    type Service = CountedRequests<S>;

    fn layer(&self, service: S) -> Self::Service {
        CountedRequests { service, metrics: self.0.clone() }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub struct CountedRequests<S> {
    service: S,
    metrics: Metrics,
}

impl<S, B, R> Service<Request<B>> for CountedRequests<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verb = verb_of(&request);
        let metrics = self.metrics.clone();
        let answer = self.service.call(request);
        Box::pin(async move {
            let answer = answer.await;
            metrics.api_request(verb, answer.as_ref().map_or(0, |answer| answer.status().as_u16()));
            answer
        })
    }
}

/// What a request does, from a closed list. A get and a list look the same but
/// for the path; both are `read`.
fn verb_of<B>(request: &Request<B>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    let asks = |wanted: &str| query.split('&').any(|pair| pair == wanted);
    if asks("dryRun=All") {
        return "dry-run";
    }
    match *request.method() {
        Method::GET if asks("watch=true") || asks("watch=1") => "watch",
        Method::GET => "read",
        Method::POST => "create",
        Method::PUT => "replace",
        Method::DELETE => "delete",
        Method::PATCH => {
            let content = request.headers().get(header::CONTENT_TYPE).and_then(|content| content.to_str().ok());
            if content.is_some_and(|content| content.contains("apply-patch")) { "apply" } else { "patch" }
        }
        _ => "other",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {

    use rstest::rstest;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[rstest]
    #[case("GET", "/api/v1/pods/a", None, "read")]
    #[case("GET", "/api/v1/pods?labelSelector=x&watch=true", None, "watch")]
    #[case("POST", "/api/v1/pods", None, "create")]
    #[case("PUT", "/api/v1/pods/a", None, "replace")]
    #[case("PATCH", "/api/v1/pods/a", Some("application/apply-patch+yaml"), "apply")]
    #[case("PATCH", "/api/v1/pods/a?dryRun=All", Some("application/apply-patch+yaml"), "dry-run")]
    #[case("PATCH", "/api/v1/pods/a", Some("application/json-patch+json"), "patch")]
    #[case("DELETE", "/api/v1/pods/a", None, "delete")]
    #[case("OPTIONS", "/", None, "other")]
    fn verbs_are_told(#[case] method: &str, #[case] uri: &str, #[case] content: Option<&str>, #[case] expected: &str) {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(content) = content {
            request = request.header(header::CONTENT_TYPE, content);
        }
        assert_eq!(verb_of(&request.body(()).unwrap()), expected);
    }

    #[tokio::test]
    async fn answers_are_counted_by_class_and_silence_too() {
        let metrics = Metrics::new("0");
        let answering = service_fn(|request: Request<()>| async move {
            if request.uri().path() == "/silent" {
                return Err("no connection");
            }
            Ok::<_, &str>(Response::builder().status(503).body(()).unwrap())
        });
        let counted = CountRequests::new(metrics.clone()).layer(answering);
        let get = |uri: &str| Request::builder().uri(uri).body(()).unwrap();
        assert_eq!(counted.clone().oneshot(get("/busy")).await.unwrap().status(), 503);
        assert!(counted.oneshot(get("/silent")).await.is_err());
        let text = metrics.encode().unwrap();
        assert!(text.contains("bowline_api_requests_total{verb=\"read\",code=\"5xx\"} 1"), "{text}");
        assert!(text.contains("bowline_api_requests_total{verb=\"read\",code=\"none\"} 1"), "{text}");
    }
}
