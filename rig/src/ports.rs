//! Free ports of 127.0.0.1.
//!
//! A port is taken below the kernel's ephemeral range, so that no outgoing
//! connection can take it between the choice and the use, and is claimed by a
//! lock file, so that no other instance of the rig chooses it at the same time.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

use crate::directory::{cache_dir, create_private};
use crate::error::{At, Error, Result};

const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;
const STARTS: u16 = 400;

/// A claimed port; the claim ends with the value or the process.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _claim: File,
}

impl Port {
    pub(crate) fn claim() -> Result<Self> {
        let dir = cache_dir().join("ports");
        create_private(&dir)?;
        // Few places to begin at, so that few lock files are ever made.
        let start = random() % STARTS * ((LAST - FIRST) / STARTS);
        for step in 0..LAST - FIRST {
            let number = FIRST + (start + step) % (LAST - FIRST);
            let path = dir.join(number.to_string());
            let claim = File::create(&path).at("create", &path)?;
            if claim.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Port { number, _claim: claim });
            }
        }
        Err(Error::NoPort { first: FIRST, last: LAST })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

fn random() -> u16 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    (RandomState::new().build_hasher().finish() % u64::from(u16::MAX)) as u16
}
