//! stub
use crate::{api::*, plan::Plan};
/// stub
pub fn plan_view(plan: &Plan, commit: &str, to_release: Option<u64>, _salt: &[u8], _max: usize) -> PlanView {
    PlanView { digest: plan.digest.clone(), bundle: plan.bundle.clone(), commit: commit.into(), to_release, actions: vec![], omitted: 0, unchanged: plan.unchanged, refusals: plan.refusals.iter().map(ToString::to_string).collect(), notes: vec![] }
}
