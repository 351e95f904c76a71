//! What the controller asked of the API server, by the audit log.

use std::collections::BTreeMap;

use rig::Cluster;

use super::Result;

/// What was asked, by kind of request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Requests {
    /// Server-side applies that are only tried.
    pub(super) dry_runs: usize,
    pub(super) lists: usize,
    pub(super) watches: usize,
    pub(super) leases: usize,
    /// All but those above, by verb and resource.
    pub(super) others: BTreeMap<String, usize>,
}

impl Requests {
    /// Those of the controller since a mark of the audit log.
    pub(super) fn since(cluster: &Cluster, mark: u64) -> Result<Self> {
        let mut counts = Requests::default();
        for request in cluster.audit_log().by_user_agent(mark, "bowline-controller")? {
            let about = request.object_ref.clone().unwrap_or_default();
            match (request.verb.as_str(), about.resource.as_str()) {
                ("watch", _) => counts.watches += 1,
                (_, "leases") => counts.leases += 1,
                ("list", _) => counts.lists += 1,
                _ if request.uri.contains("dryRun=") => counts.dry_runs += 1,
                (verb, "") => {
                    let path = request.uri.split('?').next().unwrap_or_default();
                    *counts.others.entry(format!("{verb} {path}")).or_default() += 1;
                }
                (verb, resource) => {
                    let part = if about.subresource.is_empty() { "" } else { "/" };
                    let what = format!("{verb} {resource}{part}{}", about.subresource);
                    *counts.others.entry(what).or_default() += 1;
                }
            }
        }
        Ok(counts)
    }

    /// How many were no renewals: of watches, of the lease.
    pub(super) fn asked(&self) -> usize {
        self.dry_runs + self.lists + self.others.values().sum::<usize>()
    }

    /// Says what they were, on standard error.
    pub(super) fn explain(&self) {
        let counted = [("dry-run", self.dry_runs), ("list", self.lists), ("watch", self.watches)];
        let counted =
            counted.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}"));
        let others = self.others.iter().map(|(what, count)| format!("{count} {what}"));
        let all: Vec<String> = counted.chain(others).collect();
        if !all.is_empty() {
            eprintln!("    requests: {}", all.join(", "));
        }
    }
}
