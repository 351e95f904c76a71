//! Programs that end when this process ends, however it ends.
//!
//! The kernel's parent-death signal does it, set by `setpriv` of util-linux
//! between fork and exec. The signal comes when the *thread* that started the
//! program ends, so one thread that lives as long as the process starts all of
//! them.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{At, Error, Result};

/// A program that runs, with its output in a log file. It ends with this value,
/// and never outlives this process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What to run; kept, so that it can be started again.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// What it is called in errors.
    pub name: String,
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables added to this process's environment.
    pub environment: Vec<(String, String)>,
    /// The file that its output is added to.
    pub log: PathBuf,
}

impl Process {
    /// Starts the program.
    pub fn start(launch: &Launch) -> Result<Self> {
        let log = File::options().create(true).append(true).open(&launch.log).at("open", &launch.log)?;
        let errors = log.try_clone().at("open", &launch.log)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&launch.program)
            .args(&launch.arguments)
            .envs(launch.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let child = spawn(command)?.map_err(|source| Error::Program { program: "setpriv".into(), source })?;
        Ok(Process { name: launch.name.clone(), child, log: launch.log.clone() })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// An error with the end of the log if the program has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(Error::ComponentEnded { component: self.name.clone(), status, log: self.log_end() }),
        }
    }

    /// The end of its log.
    pub fn log_end(&self) -> String {
        end_of(&self.log, 4_000)
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it where it is (SIGSTOP), until [`Process::go_on`].
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Not waited for yet, so that the number is still this process's own.
    fn signal(&self, signal: Signal) {
        if let Some(process) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(process, signal);
        }
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last `limit` bytes of a file, from the start of a line.
pub(crate) fn end_of(path: &Path, limit: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match text.split_once('\n') {
            Some((_, rest)) if length > limit => rest.to_owned(),
            _ => text,
        })
    };
    read().unwrap_or_else(|error| format!("({} cannot be read: {error})", path.display()))
}

/// Puts this process into a session of its own, so that Ctrl-C in the terminal
/// that started it does not reach it.
pub fn detach() {
    // It fails only in a process that leads a group, which then is detached already.
    let _ = rustix::process::setsid();
}

type Spawned = std::io::Result<Child>;

/// Starts a command on the thread that lives as long as the process.
pub(crate) fn spawn(command: Command) -> Result<Spawned> {
    static SPAWNER: OnceLock<mpsc::Sender<(Command, mpsc::Sender<Spawned>)>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<(Command, mpsc::Sender<Spawned>)>();
        std::thread::spawn(move || {
            for (mut command, reply) in receiver {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = mpsc::channel();
    spawner.send((command, reply)).map_err(|_| Error::SpawnerGone)?;
    answer.recv().map_err(|_| Error::SpawnerGone)
}

/// Runs a command to its end and returns its standard output.
pub(crate) fn output(command: &mut Command, input: Option<&[u8]>) -> Result<Vec<u8>> {
    use std::io::Write;
    let line = describe(command);
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| Error::Program { program: program.clone(), source };
    command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let writer = child.stdin.take().zip(input).map(|(mut stdin, input)| {
        let input = input.to_vec();
        // A program that does not read its input ends the writing with an error
        // of no interest: its own exit status tells.
        std::thread::spawn(move || drop(stdin.write_all(&input)))
    });
    let output = child.wait_with_output().map_err(failed)?;
    if let Some(writer) = writer {
        let _ = writer.join();
    }
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.trim().is_empty() {
        text = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    Err(Error::Command { command: line, status: output.status, output: text.trim_end().to_owned() })
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut line = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
