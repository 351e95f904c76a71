//! The secrets that webhooks are signed with.

use std::{io, path::Path};

use tokio::io::AsyncReadExt as _;

use super::provider::Provider;

/// The largest file of secrets, in bytes.
const LARGEST: u64 = 4096;
/// A shorter secret can be guessed.
const SHORTEST: usize = 16;

/// A secret that both sides know.
pub(super) struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The secrets of a provider: the lines of the file of its name, so that a new
/// one is taken beside the old one for a while. Nothing where there is no such
/// file. It is read each time: a mounted Secret that changes counts at once.
///
/// # Errors
/// Why they cannot be used; never a secret itself.
pub(super) async fn of(directory: &Path, provider: Provider) -> Result<Option<Vec<Secret>>, String> {
    let path = directory.join(provider.as_str());
    let file = match tokio::fs::File::open(&path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let mut bytes = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    secrets(&bytes).map(Some).map_err(|why| format!("{}: {why}", path.display()))
}

fn secrets(bytes: &[u8]) -> Result<Vec<Secret>, String> {
    if bytes.len() as u64 > LARGEST {
        return Err(format!("has more than {LARGEST} bytes"));
    }
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let secrets: Vec<Secret> = lines.map(|line| Secret(line.to_vec())).collect();
    match secrets.iter().map(|secret| secret.0.len()).min() {
        None => Err("is empty".to_owned()),
        Some(length) if length < SHORTEST => {
            Err(format!("a secret has {length} bytes, and less than {SHORTEST} can be guessed"))
        }
        Some(_) => Ok(secrets),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one(b"0123456789abcdef\n", Ok(1))]
    #[case::old_and_new(b"0123456789abcdef\r\n\n  fedcba9876543210\n", Ok(2))]
    #[case::empty(b"\n\n", Err("is empty"))]
    #[case::short(b"0123456789abcdef\nshort\n", Err("has 5 bytes"))]
    fn each_line_is_a_secret(#[case] bytes: &[u8], #[case] expected: Result<usize, &str>) {
        match (secrets(bytes), expected) {
            (Err(why), Err(words)) => assert!(why.contains(words) && !why.contains("short"), "{why}"),
            (read, expected) => assert_eq!(read.map(|secrets| secrets.len()), expected.map_err(str::to_owned)),
        }
    }

    #[test]
    fn a_large_file_is_refused() {
        assert!(secrets(&[b'a'; LARGEST as usize + 1]).is_err());
    }

    #[tokio::test]
    async fn a_provider_without_a_file_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(of(directory.path(), Provider::GitHub).await, Ok(None)));
        std::fs::write(directory.path().join("github"), "0123456789abcdef").unwrap();
        assert!(matches!(of(directory.path(), Provider::GitHub).await, Ok(Some(secrets)) if secrets.len() == 1));
        std::fs::create_dir(directory.path().join("gitlab")).unwrap();
        assert!(of(directory.path(), Provider::GitLab).await.is_err());
    }
}
