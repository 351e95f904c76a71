//! Reading commits and directories, whose size a repository chooses.

use git2::{Commit, Error, ErrorClass, ErrorCode, ObjectType, Oid, Repository, Tree};

use super::{
    error::SourceError,
    url::{RepositoryUrl, visible},
};

/// The largest commit or tag that is read, in bytes: an object is inflated as a whole,
/// and a few bytes of a pack can become very many.
const COMMIT_BYTES: usize = 1 << 20;

/// The largest directory that is read, in bytes.
const TREE_BYTES: usize = 16 << 20;

/// Reads a commit.
pub(super) fn commit(repository: &Repository, id: Oid) -> Result<Commit<'_>, Error> {
    bounded(repository, id, ObjectType::Commit, COMMIT_BYTES)?;
    repository.find_commit(id)
}

/// Reads a commit as it is stored.
pub(super) fn raw_commit(repository: &Repository, id: Oid) -> Result<Vec<u8>, Error> {
    bounded(repository, id, ObjectType::Commit, COMMIT_BYTES)?;
    Ok(repository.odb()?.read(id)?.data().to_vec())
}

/// Reads an annotated tag as it is stored.
pub(super) fn raw_tag(repository: &Repository, id: Oid) -> Result<Vec<u8>, Error> {
    bounded(repository, id, ObjectType::Tag, COMMIT_BYTES)?;
    Ok(repository.odb()?.read(id)?.data().to_vec())
}

/// Reads a directory.
pub(super) fn tree(repository: &Repository, id: Oid) -> Result<Tree<'_>, Error> {
    bounded(repository, id, ObjectType::Tree, TREE_BYTES)?;
    repository.find_tree(id)
}

fn bounded(repository: &Repository, id: Oid, wanted: ObjectType, limit: usize) -> Result<(), Error> {
    let (size, kind) = repository.odb()?.read_header(id)?;
    if kind != wanted {
        let message = format!("object {id} is a {kind}, not a {wanted}");
        Err(Error::new(ErrorCode::Invalid, ErrorClass::Object, message))
    } else if size > limit {
        let message = format!("{wanted} {id} is {size} bytes, more than the limit of {limit}");
        Err(Error::new(ErrorCode::BufSize, ErrorClass::Object, message))
    } else {
        Ok(())
    }
}

/// The error of a read. An object that is missing or does not have its own
/// digest was damaged here, and fetching it again helps; one that is whole and
/// still cannot be read is what the repository holds.
pub(super) fn unreadable(url: &RepositoryUrl, error: &Error) -> SourceError {
    let message = visible(error.message());
    match (error.code(), error.class()) {
        (ErrorCode::BufSize, _) => SourceError::TooLarge { subject: url.to_string(), message },
        (ErrorCode::NotFound | ErrorCode::HashsumMismatch, _) => {
            SourceError::RepositoryDamaged { url: url.to_string(), message }
        }
        (_, ErrorClass::Tree | ErrorClass::Object) => SourceError::Malformed { url: url.to_string(), message },
        _ => SourceError::RepositoryDamaged { url: url.to_string(), message },
    }
}
