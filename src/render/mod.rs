//! Tree to bundle: the desired objects that a directory of files says.
