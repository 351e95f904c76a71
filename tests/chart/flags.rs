//! Each flag of the controller can be reached through the chart.

use crate::helm::chart;

/// Flags that the chart leaves to `controller.extraArgs`, with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    ("allow-file-repositories", "would read the pod's own disk"),
    ("trust-unverified-requests", "the chart installs the policies that verify"),
    ("identity", "the pod's name, by default"),
    ("helm", "the image has it on its path"),
    ("kustomize", "the image has it on its path"),
];

#[test]
fn each_flag_of_the_controller_has_a_value_or_a_reason() {
    let deployment = std::fs::read_to_string(chart().join("templates/deployment.yaml")).unwrap();
    let program = bowline::cli::command();
    let command = program.find_subcommand("controller").unwrap();
    let flags: Vec<&str> = command.get_arguments().filter_map(|argument| argument.get_long()).collect();
    assert!(flags.len() > 10, "{flags:?}");
    for flag in flags {
        let there = deployment.contains(&format!("--{flag}=")) || deployment.contains(&format!("- --{flag}\n"));
        let left_out = LEFT_OUT.iter().any(|(name, _)| *name == flag);
        assert!(there != left_out, "--{flag} is to be in templates/deployment.yaml, or in LEFT_OUT with a reason");
    }
}
