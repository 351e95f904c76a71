//! Running a program that renders, within bounds: an environment of its own,
//! an empty home, no credentials, limits on time, memory and output, and an end
//! that takes all that it started with it.
//!
//! The program finds no other program (its `PATH` is empty) and is pointed at
//! a proxy that does not exist, so that whatever it tries to load over the
//! network fails at once. What repositories could have it load is refused
//! before it is started; this is the second lock. Only to fetch a chart that an
//! application names is Helm let out.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, prlimit, waitid};

/// What a program may cost at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramLimits {
    /// How long it may take.
    pub time: Duration,
    /// Bytes of memory that it may have for its data. A pod in which the
    /// controller and the programs together pass the pod's limit is ended whole.
    pub memory: u64,
    /// Bytes that it may write to its standard output, and to a file.
    pub output: u64,
}

impl Default for ProgramLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), memory: 384 << 20, output: 64 << 20 }
    }
}

/// How much of its complaints is kept, in bytes.
const COMPLAINTS: u64 = 64 << 10;
/// An address at which nothing listens: the port of the discard protocol.
const NO_PROXY_THERE: &str = "http://127.0.0.1:9";

/// What became of a program that ran to its end.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) succeeded: bool,
    pub(super) output: Vec<u8>,
    pub(super) complaints: String,
}

/// Why a program came to no end of its own.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("{program} cannot be started: {source}")]
    NotStarted { program: String, source: io::Error },
    #[error("{program} took longer than the limit of {}s and was stopped", .limit.as_secs())]
    TooSlow { program: String, limit: Duration },
    #[error("{program} wrote more than the limit of {} MiB and was stopped", .limit >> 20)]
    TooMuchOutput { program: String, limit: u64 },
    #[error("{program} needed more than the limit of {} MiB of memory", .limit >> 20)]
    TooMuchMemory { program: String, limit: u64 },
}

/// Whether a program is to speak to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    /// It renders: whatever it tries to load fails at once.
    Closed,
    /// It fetches, by the proxies and authorities that this process has.
    Open,
}

impl Network {
    fn environment(self) -> Vec<(&'static str, OsString)> {
        const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
        const OWN: [&str; 4] = ["NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        match self {
            Self::Closed => PROXIES.map(|name| (name, NO_PROXY_THERE.into())).into(),
            Self::Open => {
                let own = |name: &'static str| std::env::var_os(name).map(|value| (name, value));
                PROXIES.into_iter().chain(OWN).filter_map(own).collect()
            }
        }
    }
}

/// Runs a program in a directory, with a home of its own.
pub(super) fn run(
    program: &Path,
    arguments: &[&OsStr],
    directory: &Path,
    home: &Path,
    limits: &ProgramLimits,
    network: Network,
) -> Result<Finished, RunError> {
    let name = || program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let failed = |source| RunError::NotStarted { program: name(), source };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs([("PATH", ""), ("LC_ALL", "C.UTF-8"), ("KUBECONFIG", "/dev/null")])
        .envs(["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"].map(|name| (name, home)))
        .envs(network.environment())
        // Both programs collect their garbage by then, before the limit ends them.
        .env("GOMEMLIMIT", (limits.memory / 10 * 8).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let running = Running::start(&mut command, limits).map_err(failed)?;
    let ended = running.run_out(limits).map_err(failed)?;
    let complaints = String::from_utf8_lossy(&ended.complaints).into_owned();
    let out_of_memory = complaints.contains("out of memory") || complaints.contains("cannot allocate memory");
    match ended.how {
        End::Slow => Err(RunError::TooSlow { program: name(), limit: limits.time }),
        End::Loud => Err(RunError::TooMuchOutput { program: name(), limit: limits.output }),
        End::Itself(status) if !status.success() && (out_of_memory || status.code().is_none()) => {
            Err(RunError::TooMuchMemory { program: name(), limit: limits.memory })
        }
        End::Itself(status) => Ok(Finished { succeeded: status.success(), output: ended.output, complaints }),
    }
}

enum End {
    Itself(ExitStatus),
    Slow,
    Loud,
}

struct Ended {
    how: End,
    output: Vec<u8>,
    complaints: Vec<u8>,
}

/// A program that runs. It ends with whatever it started when this is dropped.
struct Running {
    child: Child,
    began: Instant,
}

/// What the threads that read tell.
enum Heard {
    Output(io::Result<Vec<u8>>),
    Complaints(Vec<u8>),
}

impl Running {
    fn start(command: &mut Command, limits: &ProgramLimits) -> io::Result<Self> {
        let running = Self { child: command.spawn()?, began: Instant::now() };
        let memory = Rlimit { current: Some(limits.memory), maximum: Some(limits.memory) };
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let file = Rlimit { current: Some(limits.output), maximum: Some(limits.output) };
        for (resource, limit) in [(Resource::Data, memory), (Resource::Fsize, file), (Resource::Core, none)] {
            match prlimit(running.pid(), resource, limit) {
                // It ended already.
                Err(rustix::io::Errno::SRCH) | Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(running)
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }

    fn run_out(mut self, limits: &ProgramLimits) -> io::Result<Ended> {
        let (tell, heard) = mpsc::channel();
        let (Some(output), Some(complaints)) = (self.child.stdout.take(), self.child.stderr.take()) else {
            return Err(io::Error::other("its output is not connected"));
        };
        let (of_output, of_complaints) = (tell.clone(), tell);
        let limit = limits.output;
        // Nobody may be listening any more when they have something to tell.
        thread::Builder::new().name("render output".into()).spawn(move || {
            let mut text = Vec::new();
            let read = output.take(limit + 1).read_to_end(&mut text).map(|_| text);
            let _ = of_output.send(Heard::Output(read));
        })?;
        thread::Builder::new().name("render errors".into()).spawn(move || {
            let (mut text, mut complaints) = (Vec::new(), complaints);
            let _ = complaints.by_ref().take(COMPLAINTS).read_to_end(&mut text);
            // The rest is read, so that the program is not held up by it.
            let _ = io::copy(&mut complaints, &mut io::sink());
            let _ = of_complaints.send(Heard::Complaints(text));
        })?;
        let deadline = self.began + limits.time;
        let (mut output, mut complaints) = (None, None);
        while output.is_none() || complaints.is_none() {
            match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Heard::Output(text)) => {
                    let text = text?;
                    if text.len() as u64 > limit {
                        return Ok(Ended { how: End::Loud, output: Vec::new(), complaints: Vec::new() });
                    }
                    output = Some(text);
                }
                Ok(Heard::Complaints(text)) => complaints = Some(text),
                Err(_) => return Ok(Ended { how: End::Slow, output: Vec::new(), complaints: Vec::new() }),
            }
        }
        // Both ends are closed: the program is over, or wants to say no more.
        while !self.is_over()? {
            if Instant::now() >= deadline {
                return Ok(Ended { how: End::Slow, output: Vec::new(), complaints: Vec::new() });
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.end_group();
        let how = End::Itself(self.child.wait()?);
        Ok(Ended { how, output: output.unwrap_or_default(), complaints: complaints.unwrap_or_default() })
    }

    /// Whether it ended; its number stays its own until it is waited for.
    fn is_over(&self) -> io::Result<bool> {
        let Some(pid) = self.pid() else { return Ok(true) };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::Pid(pid), options)?.is_some())
    }

    /// Ends all that is left of the program and of what it started.
    fn end_group(&self) {
        if let Some(pid) = self.pid() {
            // None may be left.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.end_group();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(script: &str, limits: &ProgramLimits) -> Result<Finished, RunError> {
        let directory = tempfile::tempdir().unwrap();
        let arguments = [OsStr::new("-c"), OsStr::new(script)];
        run(Path::new("/bin/sh"), &arguments, directory.path(), directory.path(), limits, Network::Closed)
    }

    #[test]
    fn it_sees_nothing_of_the_environment() {
        let finished =
            shell("echo out; echo $USER$KUBERNETES_SERVICE_HOST$CARGO; echo err >&2; exit 3", &Default::default());
        let finished = finished.unwrap();
        assert_eq!((finished.output.as_slice(), finished.complaints.as_str()), (&b"out\n\n"[..], "err\n"));
        assert!(!finished.succeeded);
    }

    #[test]
    fn one_that_takes_too_long_is_stopped_with_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("pid");
        let script = format!("/bin/sleep 300 & echo $! > {}; wait", mark.display());
        let limits = ProgramLimits { time: Duration::from_millis(500), ..ProgramLimits::default() };
        let error = shell(&script, &limits).unwrap_err();
        assert!(matches!(error, RunError::TooSlow { .. }), "{error}");
        let pid: i32 = std::fs::read_to_string(mark).unwrap().trim().parse().unwrap();
        let gone = || !Path::new(&format!("/proc/{pid}")).exists() || is_dead(pid);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(gone(), "{pid} lives on");
    }

    /// Whether only its entry in the table of processes is left.
    fn is_dead(pid: i32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
    }

    #[test]
    fn what_it_left_behind_is_ended_when_it_ends() {
        let finished = shell("/bin/sleep 300 >/dev/null 2>&1 & echo $!", &Default::default()).unwrap();
        let pid: i32 = String::from_utf8(finished.output).unwrap().trim().parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Path::new(&format!("/proc/{pid}")).exists() && !is_dead(pid) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!Path::new(&format!("/proc/{pid}")).exists() || is_dead(pid));
    }

    #[test]
    fn one_that_says_too_much_is_stopped() {
        let limits = ProgramLimits { output: 1 << 20, ..ProgramLimits::default() };
        let error = shell("while :; do echo 0123456789012345678901234567890123456789; done", &limits).unwrap_err();
        assert_eq!(error.to_string(), "sh wrote more than the limit of 1 MiB and was stopped");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error =
            run(Path::new("/none/helm"), &[], Path::new("/"), Path::new("/"), &Default::default(), Network::Closed)
                .unwrap_err();
        assert!(error.to_string().starts_with("helm cannot be started: "), "{error}");
    }
}
