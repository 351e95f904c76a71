//! Drift and its repair, as a watch from outside sees both.

use super::{
    milliseconds,
    report::Report,
    stage::{NAMESPACE, Stage, config_map},
    watch::Watch,
};
use crate::Outcome;

/// From the event of a deletion or an edit until the event of its repair, both
/// seen by one watch.
pub(super) fn run(
    report: &mut Report,
    stage: &Stage,
    application: &str,
    objects: u32,
    samples: u32,
    goal: f64,
) -> Outcome {
    eprintln!("repair: {samples} objects deleted, {samples} edited");
    let watch = Watch::start(&stage.cluster, NAMESPACE)?;
    let (mut deleted, mut edited) = (Vec::new(), Vec::new());
    for sample in 0..samples {
        // Each another object: one that changes again and again is left alone
        // for a while, on purpose.
        let name = config_map(application, sample % objects);
        watch.drain();
        stage.cluster.kubectl(&["delete", "configmap", &name, "-n", NAMESPACE, "--wait=false"])?;
        let gone = watch.until(&format!("the deletion of {name}"), |seen| seen.name == name)?;
        let back = watch.until(&format!("the repair of {name}"), |seen| seen.name == name && seen.uid != gone.uid)?;
        if back.value != gone.value {
            return Err(format!("{name} came back with {:?} instead of {:?}", back.value, gone.value).into());
        }
        deleted.push(milliseconds(back.at.saturating_duration_since(gone.at)));
    }
    for sample in 0..samples {
        let name = config_map(application, (objects - 1) - sample % objects);
        watch.drain();
        let value = format!("edited-{sample}");
        let patch = format!(r#"{{"data":{{"value":"{value}"}}}}"#);
        stage.cluster.kubectl(&["patch", "configmap", &name, "-n", NAMESPACE, "--type=merge", "-p", &patch])?;
        let edit = watch.until(&format!("the edit of {name}"), |seen| seen.name == name && seen.value == value)?;
        let back = watch.until(&format!("the repair of {name}"), |seen| seen.name == name && seen.value != value)?;
        edited.push(milliseconds(back.at.saturating_duration_since(edit.at)));
    }
    report.add_times("a deleted object is back", &deleted, Some(goal));
    report.add_times("an edited object is back", &edited, Some(goal));
    Ok(())
}
