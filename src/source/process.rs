//! What the Git library must be told once, before it is used.

use std::sync::OnceLock;

use super::{error::SourceError, limits::ProcessLimits};

static DONE: OnceLock<Result<(), String>> = OnceLock::new();

/// Sets time-outs and bounds of the Git library, and cuts it off from the Git
/// configuration of this machine, which could rewrite URLs or switch checks
/// off. `main` calls it before it starts a thread; only the first call counts.
///
/// # Errors
/// The library refuses a setting.
pub fn init_process(limits: &ProcessLimits) -> Result<(), SourceError> {
    DONE.get_or_init(|| apply(limits).map_err(|error| error.message().to_owned()))
        .clone()
        .map_err(|message| SourceError::GitFailed { url: "the Git library".to_owned(), message })
}

#[expect(
    unsafe_code,
    reason = "libgit2 keeps these settings in plain globals; `init_process` runs this once, before the library is used"
)]
fn apply(limits: &ProcessLimits) -> Result<(), git2::Error> {
    let milliseconds = |duration: std::time::Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: each call writes a global of libgit2 that is only written here,
    // under the `OnceLock`, and the values are plain numbers and valid paths.
    unsafe {
        git2::opts::set_server_connect_timeout_in_milliseconds(milliseconds(limits.connect_timeout))?;
        git2::opts::set_server_timeout_in_milliseconds(milliseconds(limits.silence_timeout))?;
        git2::opts::set_mwindow_size(limits.window_bytes)?;
        git2::opts::set_mwindow_mapped_limit(limits.mapped_bytes)?;
        git2::opts::set_mwindow_file_limit(limits.open_packs)?;
        git2::opts::set_cache_max_size(isize::try_from(limits.cache_bytes).unwrap_or(isize::MAX))?;
        git2::opts::set_verify_owner_validation(true)?;
        for level in [
            git2::ConfigLevel::ProgramData,
            git2::ConfigLevel::System,
            git2::ConfigLevel::XDG,
            git2::ConfigLevel::Global,
        ] {
            git2::opts::set_search_path(level, "/nonexistent")?;
        }
        libgit2_sys::git_libgit2_opts(
            libgit2_sys::GIT_OPT_SET_PACK_MAX_OBJECT_SIZE as std::ffi::c_int,
            limits.object_bytes,
        );
    }
    git2::opts::strict_hash_verification(true);
    Ok(())
}
