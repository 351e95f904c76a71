//! Where a command writes to: data on standard output, the rest on standard
//! error. The one place of the library that does.

use std::io::{self, BufRead as _, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use super::{CommandError, style};

/// Where a command writes to. Text with colours may be given: they are left
/// out where they are not wanted.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    terminal: Terminal,
    /// The progress that is shown and will be written over.
    shown: bool,
}

/// Which ends are a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terminal {
    /// A person can be asked.
    pub input: bool,
    /// A person reads the data.
    pub out: bool,
    /// A person reads the messages.
    pub err: bool,
}

/// How wide progress may be: wider than a narrow terminal, it could not be
/// written over.
const PROGRESS_WIDTH: usize = 78;

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The form of data for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DataFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ListFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// A table with more columns, nothing cut short.
    Wide,
    /// Names alone, one a line.
    Name,
}

impl Output {
    /// Standard output and standard error of the process.
    pub fn standard(color: Color) -> Self {
        let choice = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let terminal = Terminal {
            input: io::stdin().is_terminal(),
            out: io::stdout().is_terminal(),
            err: io::stderr().is_terminal(),
        };
        let out = AutoStream::new(io::stdout(), choice);
        let err = AutoStream::new(io::stderr(), choice);
        Self { out: Box::new(io::BufWriter::new(out)), err: Box::new(err), terminal, shown: false }
    }

    /// Which ends are a terminal.
    pub fn terminal(&self) -> Terminal {
        self.terminal
    }

    /// Whether a person can be asked.
    pub fn can_ask(&self) -> bool {
        self.terminal.input && self.terminal.err
    }

    /// Both writers, for commands that write by themselves: data, messages.
    pub fn writers(&mut self) -> (&mut dyn Write, &mut dyn Write) {
        (&mut *self.out, &mut *self.err)
    }

    /// Writes data.
    pub fn write(&mut self, text: &str) -> Result<(), CommandError> {
        self.clear_progress()?;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()?;
        Ok(())
    }

    /// Writes data for programs.
    pub fn write_data(&mut self, format: DataFormat, value: &impl Serialize) -> Result<(), CommandError> {
        let unwritable = |message: String| CommandError::failed(format!("the output cannot be written: {message}"));
        let text = match format {
            DataFormat::Json => {
                serde_json::to_string_pretty(value).map_err(|error| unwritable(error.to_string()))? + "\n"
            }
            DataFormat::Yaml => serde_yaml::to_string(value).map_err(|error| unwritable(error.to_string()))?,
        };
        self.write(&text)
    }

    /// A line of message for a person.
    pub fn say(&mut self, line: &str) -> Result<(), CommandError> {
        self.clear_progress()?;
        writeln!(self.err, "{line}")?;
        self.err.flush()?;
        Ok(())
    }

    /// Shows what is going on, in place of what was shown before. Off a
    /// terminal nothing is shown: a log wants lines that stay.
    pub fn progress(&mut self, text: &str) -> Result<(), CommandError> {
        if !self.terminal.err {
            return Ok(());
        }
        // One line only, or the next one could not be written over it.
        let text: String = text.chars().take(PROGRESS_WIDTH).collect();
        write!(self.err, "\r\u{1b}[2K{}", style::dim(&text))?;
        self.err.flush()?;
        self.shown = true;
        Ok(())
    }

    fn clear_progress(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.shown) {
            write!(self.err, "\r\u{1b}[2K")?;
        }
        Ok(())
    }

    /// An error with its hints. That the error itself cannot be written is
    /// nothing that could be said anywhere.
    pub fn error(&mut self, error: &CommandError) {
        let text = error.to_string();
        let painted = text
            .replacen("error:", &style::bad("error:"), 1)
            .lines()
            .map(|line| {
                line.strip_prefix("hint:").map_or(line.to_owned(), |rest| format!("{}{rest}", style::accent("hint:")))
            })
            .collect::<Vec<_>>()
            .join("\n");
        let _ = self.clear_progress();
        if !painted.is_empty() {
            let _ = writeln!(self.err, "{painted}");
        }
        let _ = self.err.flush();
    }

    /// Asks a person; off a terminal that is wrong use, and the error names
    /// the flag that answers.
    pub fn confirm(&mut self, question: &str) -> Result<bool, CommandError> {
        if !self.can_ask() {
            return Err(CommandError::usage(format!("nobody can be asked \"{question}\": this is not a terminal"))
                .hint("--yes says yes"));
        }
        self.clear_progress()?;
        write!(self.err, "{question} [y/N] ")?;
        self.err.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// A writer that remembers.
    #[derive(Clone, Default)]
    pub struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        /// What was written, without colours.
        pub fn text(&self) -> String {
            let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            anstream::adapter::strip_str(&String::from_utf8_lossy(&bytes)).to_string()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output that remembers: it, its data and its messages.
    pub fn captured(terminal: Terminal) -> (Output, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let output = Output { out: Box::new(out.clone()), err: Box::new(err.clone()), terminal, shown: false };
        (output, out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_off_a_terminal_is_wrong_use_and_names_the_flag() {
        let (mut output, _, _) = testing::captured(Terminal::default());
        let error = output.confirm("Roll back?").map_err(|error| (error.exit_code(), error.to_string()));
        let text = "error: nobody can be asked \"Roll back?\": this is not a terminal\nhint: --yes says yes\n";
        assert_eq!(error, Err((2, text.to_owned())));
    }

    #[test]
    fn progress_leaves_no_trace_off_a_terminal() {
        let (mut output, _, err) = testing::captured(Terminal::default());
        output.progress("applied 1 of 2").ok();
        output.say("done").ok();
        assert_eq!(err.text(), "done\n");
    }
}
