//! How the demo speaks: what happens, the command that a user would type, what it says.

use std::io::{IsTerminal, Write};

pub(super) struct Terminal {
    styled: bool,
    pauses: bool,
}

impl Terminal {
    pub(super) fn new(pauses: bool) -> Self {
        let output = std::io::stdout().is_terminal();
        Terminal {
            styled: output && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            pauses: pauses && output && std::io::stdin().is_terminal(),
        }
    }

    pub(super) fn title(&self, text: &str) {
        println!("{}", self.bold(text));
    }

    pub(super) fn part(&self, number: &str, text: &str) {
        println!("\n{}", self.bold(&format!("[{number}] {text}")));
    }

    /// A step of the story: a headline and why it matters.
    pub(super) fn step(&self, headline: &str, text: &str) {
        println!("\n{}", self.bold(&format!("▸ {headline}")));
        for line in text.lines() {
            println!("  {}", line.trim());
        }
    }

    /// What a user would type.
    pub(super) fn command(&self, line: &str) {
        println!("\n  {}", self.bold(&format!("$ {line}")));
    }

    /// What a command printed.
    pub(super) fn output(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("  {line}");
        }
    }

    /// What was seen.
    pub(super) fn note(&self, text: &str) {
        println!("  → {text}");
    }

    /// Waits for Enter where somebody is there to press it.
    pub(super) fn pause(&self) {
        if !self.pauses {
            return;
        }
        print!("\n  Enter goes on, Ctrl-C ends and cleans up ");
        let _ = std::io::stdout().flush();
        let mut line = String::new();
        let _ = std::io::stdin().read_line(&mut line);
    }

    fn bold(&self, text: &str) -> String {
        match self.styled {
            true => format!("\x1b[1m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}
