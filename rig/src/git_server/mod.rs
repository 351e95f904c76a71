//! Git over HTTP by Git's own `http-backend`, and repositories to push to.
