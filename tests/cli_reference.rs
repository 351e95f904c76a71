//! `docs/cli.md` is made from the command line itself. A stale file fails the
//! test; `BOWLINE_GENERATE=1` writes it anew.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{env, fmt::Write as _, fs, path::Path};

use clap::{Arg, Command};

#[test]
fn the_reference_describes_each_command() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let wanted = reference();
    if env::var_os("BOWLINE_GENERATE").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let is = fs::read_to_string(&path).unwrap_or_default();
    assert!(is == wanted, "docs/cli.md is stale: run `cargo xtask generate`");
}

fn reference() -> String {
    let mut command = bowline::cli::command();
    command.build();
    let mut text = String::from(
        "# The command line\n\n\
         Made from the code by `cargo xtask generate`: do not edit.\n\n\
         `bowline` also works as `kubectl bowline`, under the name `kubectl-bowline` on the PATH. Data goes to standard\n\
         output and everything else to standard error. Colour is decoration: `NO_COLOR` or `--color never` leaves it out.\n\n\
         | exit code | means |\n| --- | --- |\n\
         | 0 | fine; for `diff`: nothing differs |\n\
         | 1 | refused or failed; for `diff`: something differs |\n\
         | 2 | wrong use; for `diff`: it cannot be told, or would be refused |\n\
         | 130 | ended by Ctrl-C while following; what was asked for goes on |\n\n",
    );
    let globals: Vec<&Arg> = command.get_arguments().filter(|argument| argument.is_global_set()).collect();
    text.push_str("## Every command takes\n\n");
    arguments(&mut text, &globals);
    text.push_str("\n## Commands\n\n| command | does |\n| --- | --- |\n");
    let commands: Vec<&Command> = command.get_subcommands().filter(|command| command.get_name() != "help").collect();
    for command in &commands {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let name = command.get_name();
        writeln!(text, "| [`{name}`](#bowline-{name}) | {} |", first_sentence(&about)).unwrap();
    }
    for command in commands {
        one(&mut text, command);
    }
    text
}

fn one(text: &mut String, command: &Command) {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace('\n', " ");
    write!(text, "\n### bowline {}\n\n{}\n\n```\n{usage}\n```\n\n", command.get_name(), about.trim()).unwrap();
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_global_set() && !["help", "version"].contains(&argument.get_id().as_str()))
        .collect();
    arguments(text, &own);
}

fn arguments(text: &mut String, arguments: &[&Arg]) {
    text.push_str("| argument | means | default |\n| --- | --- | --- |\n");
    for argument in arguments {
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let environment =
            argument.get_env().map(|name| format!("; also `{}`", name.to_string_lossy())).unwrap_or_default();
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|_| argument.get_action().takes_values())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let values = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
        let defaults: Vec<String> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy().into_owned())
            .filter(|value| !value.is_empty() && argument.get_action().takes_values())
            .map(|value| format!("`{value}`"))
            .collect();
        let help = help.trim().replace('\n', " ").replace('|', "\\|");
        let help = help.trim_end_matches('.');
        let cells = format!("| `{}` | {help}{values}{environment} | {} |", named(argument), defaults.join(", "));
        writeln!(text, "{}", cells.replace("  ", " ")).unwrap();
    }
}

/// `-n, --namespace NS`, or `APP`.
fn named(argument: &Arg) -> String {
    let flags: Vec<String> =
        [argument.get_short().map(|short| format!("-{short}")), argument.get_long().map(|long| format!("--{long}"))]
            .into_iter()
            .flatten()
            .collect();
    let value = argument
        .get_value_names()
        .filter(|_| argument.get_action().takes_values())
        .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        .unwrap_or_default();
    [flags.join(", "), value].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn first_sentence(text: &str) -> &str {
    text.trim().split(". ").next().unwrap_or_default().trim_end_matches('.')
}
