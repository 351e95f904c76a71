//! What people ask: requests as objects, and the program as they run it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::Team;

/// A request to go back from a release, with more in its spec.
pub fn rollback_request(name: &str, from: u64, more: &Value) -> Value {
    request("RollbackRequest", name, json!({"applicationRef": {"name": "shop"}, "fromRelease": from}), more)
}

/// A request for a sync, with more in its spec.
pub fn sync_request(name: &str, more: &Value) -> Value {
    request("SyncRequest", name, json!({"applicationRef": {"name": "shop"}}), more)
}

fn request(kind: &str, name: &str, mut spec: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "bowline.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

impl Team<'_> {
    /// Makes a request, and waits for what comes of it.
    pub async fn ask(&self, request: &Value) -> Value {
        self.create(request);
        let resource = format!("{}s", request["kind"].as_str().unwrap().to_lowercase());
        self.until_answered(&resource, request["metadata"]["name"].as_str().unwrap()).await
    }

    /// Goes back from a release and waits for what comes of it.
    pub async fn roll_back(&self, from: u64, more: &Value) -> Value {
        let name = format!("back-from-{from}-{:08x}", rand::random::<u32>());
        self.ask(&rollback_request(&name, from, more)).await
    }

    /// Runs the program as the administrator: exit code, data, messages. The
    /// namespace is called NS in them.
    pub fn bowline(&self, arguments: &[&str]) -> (i32, String, String) {
        self.bowline_as(self.site.cluster.kubeconfig_path(), arguments)
    }

    /// Runs the program as somebody.
    pub fn bowline_as(&self, kubeconfig: &Path, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_bowline"))
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&self.namespace, "NS");
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }
}
