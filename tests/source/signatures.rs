//! Signatures of commits and tags, by the real `git`, `ssh-keygen` and `gpg`.

use std::{collections::BTreeMap, sync::LazyLock};

use bowline::source::{Resolved, SignedObject, SourceError, TrustedKeys};
use jiff::{SignedDuration, Timestamp};
use rig::{Gpg, SshSigner};
use rstest::rstest;

use super::repository::{Cache, Repository};

/// Keys that take long to make are made once.
struct Signers {
    ann: SshSigner,
    bob: SshSigner,
    ecdsa: SshSigner,
    rsa: SshSigner,
    weak: SshSigner,
    gpg: Gpg,
    openpgp: BTreeMap<&'static str, String>,
    subkeys: BTreeMap<&'static str, String>,
}

static SIGNERS: LazyLock<Signers> = LazyLock::new(|| {
    let ssh = |kind: &str, bits: Option<u32>| SshSigner::generate(kind, bits).unwrap();
    let gpg = Gpg::new().unwrap();
    let keys = [
        ("ed25519", "ed25519", "never"),
        ("rsa", "rsa2048", "never"),
        ("weak", "rsa1024", "never"),
        ("a day", "ed25519", "1d"),
        ("revoked", "ed25519", "never"),
        ("with a subkey", "ed25519", "never"),
        ("with a subkey of a day", "ed25519", "never"),
        ("with a revoked subkey", "ed25519", "never"),
        ("stranger", "ed25519", "never"),
    ];
    let make = |(name, kind, expires): (&'static str, &str, &str)| {
        (name, gpg.generate(&format!("{name} <ann@example.com>"), kind, expires).unwrap())
    };
    let openpgp: BTreeMap<_, _> = keys.into_iter().map(make).collect();
    let subkeys = [
        ("with a subkey", "rsa2048", "never"),
        ("with a subkey of a day", "ed25519", "1d"),
        ("with a revoked subkey", "ed25519", "never"),
    ];
    let subkeys = subkeys.map(|(name, kind, expires)| (name, gpg.add_subkey(&openpgp[name], kind, expires).unwrap()));
    Signers {
        ann: ssh("ed25519", None),
        bob: ssh("ed25519", None),
        ecdsa: ssh("ecdsa", Some(384)),
        rsa: ssh("rsa", Some(2048)),
        weak: ssh("rsa", Some(1024)),
        gpg,
        openpgp,
        subkeys: subkeys.into(),
    }
});

/// A Secret of allowed signers.
fn allows(lines: &[(&str, &SshSigner)]) -> TrustedKeys {
    keys(&[("signers", allowed(lines))])
}

fn allowed(lines: &[(&str, &SshSigner)]) -> String {
    lines.iter().map(|(before, signer)| format!("{before} {}\n", signer.public().unwrap())).collect()
}

/// A Secret of OpenPGP keys, as they are now.
fn trusts(names: &[&str]) -> TrustedKeys {
    keys(&[("keys.asc", names.iter().map(|name| SIGNERS.gpg.export(&SIGNERS.openpgp[name]).unwrap()).collect())])
}

fn keys(values: &[(&str, String)]) -> TrustedKeys {
    let data = values.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into_bytes())).collect();
    TrustedKeys::from_secret("Secret team/keys", &data).unwrap()
}

/// Settings by which a key of `gpg` signs; its subkey where it has one.
fn by_gpg(name: &str, options: &str) -> Vec<String> {
    let key = SIGNERS.subkeys.get(name).unwrap_or(&SIGNERS.openpgp[name]);
    SIGNERS.gpg.settings(key, options).unwrap()
}

/// Runs git with settings.
fn git(repository: &Repository, settings: &[String], arguments: &[&str]) -> String {
    let settings = settings.iter().flat_map(|setting| ["-c", setting.as_str()]);
    repository.git(&settings.chain(arguments.iter().copied()).collect::<Vec<_>>())
}

/// A repository whose newest commit is signed.
fn signed(settings: &[String]) -> Repository {
    let repository = Repository::new();
    git(&repository, settings, &["commit", "--quiet", "--allow-empty", "-S", "-m", "signed"]);
    repository
}

/// A repository with a commit that is made by hand: what git wrote, changed.
fn forged(repository: &Repository, change: impl Fn(&str) -> String) {
    let object = repository.git(&["cat-file", "commit", "HEAD"]) + "\n";
    let made = repository.git_with(&["hash-object", "-t", "commit", "-w", "--stdin"], change(&object).as_bytes());
    repository.git(&["update-ref", "refs/heads/main", &made]);
}

/// A commit with a signature before its message.
fn with_signature(object: &str, signature: &str) -> String {
    let header = signature.trim_end().replace('\n', "\n ");
    object.replacen("\n\n", &format!("\ngpgsig {header}\n\n"), 1)
}

fn verdict_at(
    repository: &Repository,
    revision: &str,
    wanted: SignedObject,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<String, String> {
    let cache = Cache::of(repository);
    let resolved = cache.fetch(revision).unwrap().resolved;
    cache.mirror().signer(&resolved, wanted, keys, now).map_err(|error| {
        assert_eq!((error.reason(), error.is_transient()), ("SignatureRefused", false), "{error}");
        error.to_string()
    })
}

fn verdict(repository: &Repository, keys: &TrustedKeys) -> Result<String, String> {
    verdict_at(repository, "main", SignedObject::Commit, keys, Timestamp::now())
}

fn in_days(days: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * days)
}

#[rstest]
#[case::ed25519(&SIGNERS.ann)]
#[case::ecdsa(&SIGNERS.ecdsa)]
#[case::rsa(&SIGNERS.rsa)]
fn an_ssh_key_that_is_allowed_signs_a_commit(#[case] signer: &SshSigner) {
    let repository = signed(&signer.settings());
    let signers = allowed(&[("bob@example.com", &SIGNERS.bob), ("ann@example.com", signer)]);
    let words = verdict(&repository, &keys(&[("signers", signers.clone())])).unwrap();
    assert!(words.starts_with("SSH SHA256:") && words.ends_with(" (ann@example.com)"), "{words}");
    // Git comes to the same.
    let file = repository.path().join(".git/signers");
    std::fs::write(&file, signers).unwrap();
    let trust = [signer.settings(), vec![format!("gpg.ssh.allowedSignersFile={}", file.display())]].concat();
    git(&repository, &trust, &["verify-commit", "HEAD"]);
}

#[rstest]
#[case::ed25519("ed25519")]
#[case::rsa("rsa")]
#[case::a_subkey("with a subkey")]
fn an_openpgp_key_that_is_trusted_signs_a_commit(#[case] name: &str) {
    let repository = signed(&by_gpg(name, ""));
    let words = verdict(&repository, &trusts(&["stranger", name])).unwrap();
    let subkey = SIGNERS.subkeys.get(name).map(|subkey| format!(", subkey {subkey}")).unwrap_or_default();
    assert_eq!(words, format!("OpenPGP {}{subkey} ({name} <ann@example.com>)", SIGNERS.openpgp[name]));
    git(&repository, &by_gpg(name, ""), &["verify-commit", "HEAD"]);
}

#[test]
fn keys_of_both_kinds_are_trusted_by_one_secret() {
    let openpgp = SIGNERS.gpg.export(&SIGNERS.openpgp["rsa"]).unwrap();
    let both =
        keys(&[("a", allowed(&[("ann", &SIGNERS.ann)])), ("b", openpgp), ("c", allowed(&[("bob", &SIGNERS.bob)]))]);
    for settings in [SIGNERS.ann.settings(), SIGNERS.bob.settings(), by_gpg("rsa", "")] {
        verdict(&signed(&settings), &both).unwrap();
    }
}

#[test]
fn a_commit_without_a_signature_is_refused_with_what_to_do() {
    let repository = Repository::new();
    let short = repository.head().as_str()[..7].to_owned();
    let message = verdict(&repository, &allows(&[("ann", &SIGNERS.ann)])).unwrap_err();
    assert_eq!(
        message,
        format!("commit {short} is not signed; sign it by a key of Secret team/keys (`git commit -S`)")
    );
}

#[rstest]
#[case::ssh(SIGNERS.bob.settings(), "is signed by SSH SHA256:")]
#[case::openpgp(by_gpg("stranger", ""), "is signed by OpenPGP ")]
fn a_commit_of_a_stranger_is_refused_by_the_key_that_signed(#[case] settings: Vec<String>, #[case] says: &str) {
    let repository = signed(&settings);
    for trusted in [allows(&[("ann", &SIGNERS.ann)]), trusts(&["ed25519"])] {
        let message = verdict(&repository, &trusted).unwrap_err();
        assert!(message.contains(says), "{message}");
        assert!(message.contains("which is none of the keys of Secret team/keys"), "{message}");
    }
}

#[rstest]
#[case::ssh(SIGNERS.ann.settings())]
#[case::openpgp(by_gpg("ed25519", ""))]
#[case::openpgp_rsa(by_gpg("rsa", ""))]
fn a_commit_that_was_changed_after_it_was_signed_is_refused(#[case] settings: Vec<String>) {
    let openpgp = ["ed25519", "rsa"].map(|name| SIGNERS.gpg.export(&SIGNERS.openpgp[name]).unwrap()).concat();
    let trusted = keys(&[("a", allowed(&[("ann", &SIGNERS.ann)])), ("b", openpgp)]);
    for (from, to) in [("\n\nsigned", "\n\nSigned"), ("Ann Author", "Eve Author")] {
        let repository = signed(&settings);
        verdict(&repository, &trusted).unwrap();
        forged(&repository, |object| object.replacen(from, to, 1));
        let message = verdict(&repository, &trusted).unwrap_err();
        assert!(message.contains("does not fit: the content was changed after it was signed"), "{message}");
    }
    // The tree of another commit under the same signature.
    let repository = signed(&settings);
    repository.git(&["tag", "-f", "kept"]);
    let evil = repository.push("app/evil.yaml", "e: 1\n");
    let tree = |revision: &str| repository.git(&["rev-parse", &format!("{revision}^{{tree}}")]);
    let (good, bad) = (tree("kept"), tree(evil.as_str()));
    repository.git(&["reset", "--quiet", "--hard", "kept"]);
    forged(&repository, |object| object.replacen(&good, &bad, 1));
    let message = verdict(&repository, &trusted).unwrap_err();
    assert!(message.contains("does not fit"), "{message}");
}

#[test]
fn a_signature_for_another_purpose_is_refused() {
    let repository = Repository::new();
    forged(&repository, |object| with_signature(object, &SIGNERS.ann.sign("file", object.as_bytes()).unwrap()));
    let message = verdict(&repository, &allows(&[("ann", &SIGNERS.ann)])).unwrap_err();
    assert!(message.contains("which does not count: the signature is for `file` and not for Git"), "{message}");
    // The same made for Git counts, so that it is the purpose that was refused.
    let repository = Repository::new();
    forged(&repository, |object| with_signature(object, &SIGNERS.ann.sign("git", object.as_bytes()).unwrap()));
    verdict(&repository, &allows(&[("ann", &SIGNERS.ann)])).unwrap();
}

#[rstest]
#[case::x509("-----BEGIN SIGNED MESSAGE-----\nMII=\n-----END SIGNED MESSAGE-----", "it is by a certificate (X.509)")]
#[case::unknown("-----BEGIN LETTER-----\nabc\n-----END LETTER-----", "it is of a kind that is not known")]
#[case::broken_ssh("-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----", "it is no SSH signature")]
#[case::broken_openpgp("-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----", "it is ")]
#[case::half("-----BEGIN PGP SIGNATURE-----", "it is ")]
fn a_signature_that_is_not_read_is_refused(#[case] signature: &str, #[case] because: &str) {
    let repository = Repository::new();
    forged(&repository, |object| with_signature(object, signature));
    let both =
        keys(&[("a", allowed(&[("ann", &SIGNERS.ann)])), ("b", SIGNERS.gpg.export(&SIGNERS.openpgp["rsa"]).unwrap())]);
    let message = verdict(&repository, &both).unwrap_err();
    assert!(message.contains(&format!("cannot be read: {because}")), "{message}");
}

#[test]
fn a_second_signature_is_refused() {
    let repository = signed(&SIGNERS.ann.settings());
    forged(&repository, |object| with_signature(object, &SIGNERS.bob.sign("git", object.as_bytes()).unwrap()));
    let message = verdict(&repository, &allows(&[("ann", &SIGNERS.ann), ("bob", &SIGNERS.bob)])).unwrap_err();
    assert!(message.contains("has more than one signature"), "{message}");
}

#[rstest]
#[case::the_key("a day", "the key expired on ")]
#[case::the_subkey("with a subkey of a day", "the subkey expired on ")]
fn a_key_counts_until_it_expires(#[case] name: &str, #[case] because: &str) {
    let (repository, trusted) = (signed(&by_gpg(name, "")), trusts(&[name]));
    verdict(&repository, &trusted).unwrap();
    let later = verdict_at(&repository, "main", SignedObject::Commit, &trusted, in_days(2)).unwrap_err();
    assert!(later.contains(&format!("which does not count: {because}")), "{later}");
}

#[test]
fn an_ssh_key_counts_within_the_time_of_its_line() {
    let repository = signed(&SIGNERS.ann.settings());
    verdict(&repository, &allows(&[("ann valid-after=\"20230101\",valid-before=\"20990101\"", &SIGNERS.ann)])).unwrap();
    for (option, because) in [
        ("valid-before=\"20200101\"", "the key expired on 2020-01-01 00:00:00 UTC"),
        // The commit says 2023.
        ("valid-after=\"20240101\"", "the key counts only after 2024-01-01 00:00:00 UTC"),
        ("namespaces=\"file\"", "the key may sign for `file` only, not for Git"),
    ] {
        let message = verdict(&repository, &allows(&[(&format!("ann {option}"), &SIGNERS.ann)])).unwrap_err();
        assert!(message.contains(&format!("(ann), which does not count: {because}")), "{message}");
        // Another line with the same key may allow it.
        verdict(&repository, &allows(&[(&format!("ann {option}"), &SIGNERS.ann), ("ann", &SIGNERS.ann)])).unwrap();
    }
}

#[test]
fn a_key_that_was_revoked_does_not_count_though_an_older_copy_is_there_too() {
    let repository = signed(&by_gpg("revoked", ""));
    let before = SIGNERS.gpg.export(&SIGNERS.openpgp["revoked"]).unwrap();
    verdict(&repository, &keys(&[("old", before.clone())])).unwrap();
    SIGNERS.gpg.revoke(&SIGNERS.openpgp["revoked"]).unwrap();
    let after = SIGNERS.gpg.export(&SIGNERS.openpgp["revoked"]).unwrap();
    for trusted in [keys(&[("new", after.clone())]), keys(&[("a", before.clone()), ("b", after)])] {
        let message = verdict(&repository, &trusted).unwrap_err();
        assert!(message.contains("which does not count: the key was revoked"), "{message}");
    }
}

#[test]
fn a_subkey_that_was_revoked_does_not_count() {
    let name = "with a revoked subkey";
    let repository = signed(&by_gpg(name, ""));
    verdict(&repository, &trusts(&[name])).unwrap();
    SIGNERS.gpg.revoke_subkey(&SIGNERS.openpgp[name]).unwrap();
    let message = verdict(&repository, &trusts(&[name])).unwrap_err();
    assert!(message.contains("which does not count: the subkey was revoked"), "{message}");
}

#[test]
fn weak_keys_and_digests_do_not_count() {
    let weak = "an RSA key of 1024 bits, and keys of less than 2048 bits are too weak";
    let message = verdict(&signed(&SIGNERS.weak.settings()), &allows(&[("ann", &SIGNERS.weak)])).unwrap_err();
    assert!(message.contains(weak), "{message}");
    let message = verdict(&signed(&by_gpg("weak", "")), &trusts(&["weak"])).unwrap_err();
    assert!(message.contains(weak), "{message}");
    let message = verdict(&signed(&by_gpg("rsa", "--digest-algo SHA1")), &trusts(&["rsa"])).unwrap_err();
    assert!(message.contains("the signature is by SHA1, which is too weak"), "{message}");
}

/// A repository with a tag over a commit.
fn tagged(commit: Option<&SshSigner>, tag: Option<&SshSigner>, name: &str) -> Repository {
    let repository = Repository::new();
    if let Some(signer) = commit {
        git(&repository, &signer.settings(), &["commit", "--quiet", "--allow-empty", "-S", "-m", "signed"]);
    }
    match tag {
        Some(signer) => git(&repository, &signer.settings(), &["tag", "-s", "-m", "a release", name]),
        None => repository.git(&["tag", "-a", "-m", "a release", name]),
    };
    repository
}

#[test]
fn the_mode_says_which_object_must_be_signed() {
    use SignedObject::{Commit, Tag, TagAndCommit};
    let trusted = allows(&[("ann", &SIGNERS.ann), ("bob", &SIGNERS.bob)]);
    let (ann, bob) = (Some(&SIGNERS.ann), Some(&SIGNERS.bob));
    for (commit, tag, wanted, says) in [
        (None, ann, Tag, Ok("tag v1.2.0 by SSH SHA256:")),
        (None, ann, Commit, Err("is not signed; sign it by a key of Secret team/keys (`git commit -S`)")),
        (None, ann, TagAndCommit, Err("(`git commit -S`)")),
        (ann, None, Tag, Err("tag v1.2.0 is not signed; sign it by a key of Secret team/keys (`git tag -s`)")),
        (ann, None, Commit, Ok("SSH SHA256:")),
        (ann, None, TagAndCommit, Err("tag v1.2.0 is not signed")),
        (ann, bob, TagAndCommit, Ok("(ann); tag v1.2.0 by SSH SHA256:")),
    ] {
        let repository = tagged(commit, tag, "v1.2.0");
        // A range finds the tag that was signed, not only its commit.
        for revision in ["v1.2.0", "refs/tags/v1.2.0", "1.x"] {
            let found = verdict_at(&repository, revision, wanted, &trusted, Timestamp::now());
            assert_eq!(found.is_ok(), says.is_ok(), "{wanted:?} at {revision}: {found:?}, not {says:?}");
            let (Ok(words) | Err(words), Ok(says) | Err(says)) = (found, says);
            assert!(words.contains(says), "{words}");
        }
    }
}

#[test]
fn a_tag_by_openpgp_counts() {
    let repository = Repository::new();
    git(&repository, &by_gpg("ed25519", ""), &["tag", "-s", "-m", "a release", "v1"]);
    let words = verdict_at(&repository, "v1", SignedObject::Tag, &trusts(&["ed25519"]), Timestamp::now()).unwrap();
    assert!(words.starts_with("tag v1 by OpenPGP "), "{words}");
}

#[test]
fn what_is_no_annotated_tag_is_told_as_such() {
    let repository = tagged(None, Some(&SIGNERS.ann), "v1");
    repository.git(&["tag", "light"]);
    // A reference leads to the signed tag of another version.
    repository.git(&["update-ref", "refs/tags/v2", "refs/tags/v1"]);
    let commit = repository.head();
    let trusted = allows(&[("ann", &SIGNERS.ann)]);
    for (revision, because) in [
        ("main", "was found by `refs/heads/main` and not by a tag"),
        (commit.as_str(), "was found by a commit and not by a tag"),
        ("light", "tag light is a lightweight tag, which cannot be signed"),
        ("v2", "tag v2 holds the tag object of `v1`"),
    ] {
        let message = verdict_at(&repository, revision, SignedObject::Tag, &trusted, Timestamp::now()).unwrap_err();
        assert!(message.contains(because), "{message}");
    }
}

#[test]
fn a_signed_tag_vouches_for_its_own_commit_alone() {
    let repository = tagged(None, Some(&SIGNERS.ann), "v1");
    let other = repository.push("app/evil.yaml", "e: 1\n");
    let cache = Cache::of(&repository);
    cache.commit("main");
    let listed = cache.fetch("v1").unwrap().resolved;
    // As a server could list it.
    let lie = Resolved { commit: other, ..listed };
    let trusted = allows(&[("ann", &SIGNERS.ann)]);
    let error = cache.mirror().signer(&lie, SignedObject::Tag, &trusted, Timestamp::now()).unwrap_err();
    assert!(error.to_string().contains("does not name commit"), "{error}");
    assert!(matches!(error, SourceError::SignatureRefused { .. }));
}

#[test]
fn a_tag_that_was_changed_after_it_was_signed_is_refused() {
    let repository = tagged(None, Some(&SIGNERS.ann), "v1");
    let object = repository.git(&["cat-file", "tag", "v1"]) + "\n";
    let changed = object.replace("a release", "another release");
    let made = repository.git_with(&["hash-object", "-t", "tag", "-w", "--stdin"], changed.as_bytes());
    repository.git(&["update-ref", "refs/tags/v1", &made]);
    let trusted = allows(&[("ann", &SIGNERS.ann)]);
    let message = verdict_at(&repository, "v1", SignedObject::Tag, &trusted, Timestamp::now()).unwrap_err();
    assert!(message.contains("the signature of tag v1, which names SSH SHA256:"), "{message}");
}

#[test]
fn a_tag_that_comes_after_its_commit_was_fetched_is_fetched_too() {
    let repository = Repository::new();
    let cache = Cache::of(&repository);
    let commit = cache.commit("main");
    git(&repository, &SIGNERS.ann.settings(), &["tag", "-s", "-m", "a release", "v1"]);
    let resolved = cache.fetch("v1").unwrap().resolved;
    assert_eq!(resolved.commit, commit);
    assert!(cache.mirror().holds(&resolved));
    let trusted = allows(&[("ann", &SIGNERS.ann)]);
    cache.mirror().signer(&resolved, SignedObject::Tag, &trusted, Timestamp::now()).unwrap();
}
