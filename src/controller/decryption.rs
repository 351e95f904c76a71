//! The keys that an application's encrypted files are decrypted by.

use zeroize::Zeroizing;

use crate::{
    api::{DecryptionSpec, ValuesKind},
    cluster::{Cluster, Identity, data::read_data},
    render::{AgeKeys, Decryption},
};

/// Entries of a Secret that hold age identities, by the end of their names.
const ENDING: &str = ".agekey";
/// One more, named as SOPS names its own file of keys.
const KEYS: &str = "keys.txt";

/// How the files of an application are decrypted: by the age identities of the
/// Secret that it names, read on somebody's behalf. Without one, encrypted
/// files are refused.
///
/// # Errors
/// In words: the Secret is missing, may not be read, or holds no such keys.
pub async fn decryption(
    cluster: &Cluster,
    identity: &Identity,
    namespace: &str,
    spec: Option<&DecryptionSpec>,
) -> Result<Decryption, String> {
    let Some(DecryptionSpec { secret_ref }) = spec else { return Ok(Decryption::default()) };
    let what = format!("Secret {namespace}/{}", secret_ref.name);
    let data = read_data(cluster, identity, ValuesKind::Secret, namespace, &secret_ref.name).await;
    let data = data.map_err(|error| format!("{what} with the keys of encrypted files cannot be read: {error}"))?;
    let data = data.ok_or_else(|| format!("{what}, which render.decryption.secretRef names, does not exist"))?;
    let data: Vec<(String, Zeroizing<Vec<u8>>)> =
        data.into_iter().map(|(name, content)| (name, Zeroizing::new(content))).collect();
    of_secret(&what, &data)
}

fn of_secret(what: &str, data: &[(String, Zeroizing<Vec<u8>>)]) -> Result<Decryption, String> {
    let mut files = data.iter().filter(|(name, _)| name.ends_with(ENDING) || name == KEYS).peekable();
    if files.peek().is_none() {
        return Err(format!("{what} has no age key: none of its entries ends with {ENDING} or is {KEYS}"));
    }
    let files = files.map(|(name, content)| (name.as_str(), content.as_slice()));
    AgeKeys::read(what, files).map(Decryption::by)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use age::{secrecy::ExposeSecret as _, x25519::Identity};

    use super::*;

    fn entry(name: &str, content: &str) -> (String, Zeroizing<Vec<u8>>) {
        (name.to_owned(), Zeroizing::new(content.as_bytes().to_vec()))
    }

    fn key() -> String {
        Identity::generate().to_string().expose_secret().to_owned()
    }

    #[test]
    fn all_entries_that_are_named_for_it_are_keys_and_others_are_left_alone() {
        let data = [entry("a.agekey", &key()), entry("keys.txt", &key()), entry("sops.asc", "a key of PGP")];
        let decryption = of_secret("Secret shop/age", &data).unwrap();
        assert_eq!(format!("{decryption:?}"), "Decryption(Secret shop/age by 2 keys)");
    }

    #[test]
    fn a_secret_without_such_entries_is_told() {
        let error = of_secret("Secret shop/age", &[entry("identity", &key())]).unwrap_err();
        assert_eq!(error, "Secret shop/age has no age key: none of its entries ends with .agekey or is keys.txt");
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_told_without_it() {
        let error = of_secret("Secret shop/age", &[entry("age.agekey", "hunter22")]).unwrap_err();
        assert!(error.starts_with("age.agekey of Secret shop/age has something else in line 1"), "{error}");
        assert!(!error.contains("hunter22"));
    }
}
