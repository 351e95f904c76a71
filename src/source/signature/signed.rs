//! The signature of a commit or tag, and the bytes that it is of.

/// The header of a commit that has its signature, in repositories whose names
/// are SHA-1.
const SIGNATURE: &[u8] = b"gpgsig";

/// The header with a signature of the object's form in SHA-256. Git leaves it
/// out of what is signed; it counts for nothing here.
const OTHER_SIGNATURE: &[u8] = b"gpgsig-sha256";

/// How the signature of a tag begins, in a line of its own.
const BEGINNINGS: [&[u8]; 4] = [
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
];

/// An object without its signature, and the signature.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// What the signature is of: the object, byte for byte, without it.
    pub(super) payload: Vec<u8>,
    /// The signatures, armored; almost always one at most.
    pub(super) signatures: Vec<Vec<u8>>,
}

/// What a commit is without its signature headers.
pub(super) fn commit(object: &[u8]) -> Signed {
    without_headers(object)
}

/// What a tag is without the signature at the end of its message.
pub(super) fn tag(object: &[u8]) -> Signed {
    let mut from = 0;
    let mut begins = None;
    for line in object.split_inclusive(|byte| *byte == b'\n') {
        if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
            begins = Some(from);
        }
        from += line.len();
    }
    let Some((payload, signature)) = begins.and_then(|begins| object.split_at_checked(begins)) else {
        return Signed { payload: object.to_vec(), signatures: Vec::new() };
    };
    // A header of a tag holds a signature of its form in SHA-256 only.
    Signed { payload: without_headers(payload).payload, signatures: vec![signature.to_vec()] }
}

/// The value of a header, such as `tree` of a commit or `object` of a tag.
pub(super) fn header<'a>(object: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = object.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let value = lines.filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b" ")).next()?;
    std::str::from_utf8(value).ok()
}

/// The time of a header that ends in one, in seconds since 1970: `committer`
/// of a commit, `tagger` of a tag.
pub(super) fn time(object: &[u8], name: &str) -> Option<i64> {
    let line = object.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let line = line.filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b" ")).next()?;
    let (_, end) = std::str::from_utf8(line.rsplit(|byte| *byte == b'>').next()?).ok()?.split_once(' ')?;
    end.split(' ').next()?.parse().ok()
}

fn without_headers(object: &[u8]) -> Signed {
    #[derive(PartialEq)]
    enum In {
        Payload,
        Signature,
        Other,
    }
    let mut signed = Signed { payload: Vec::with_capacity(object.len()), signatures: Vec::new() };
    let mut part = In::Payload;
    let mut rest = object;
    while !rest.is_empty() && !rest.starts_with(b"\n") {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        match line.strip_prefix(b" ") {
            Some(more) if part == In::Signature => {
                if let Some(signature) = signed.signatures.last_mut() {
                    signature.extend_from_slice(more);
                }
                continue;
            }
            Some(_) if part == In::Other => continue,
            _ => {}
        }
        let value = |name: &[u8]| line.strip_prefix(name)?.strip_prefix(b" ");
        part = if let Some(value) = value(SIGNATURE) {
            signed.signatures.push(value.to_vec());
            In::Signature
        } else if value(OTHER_SIGNATURE).is_some() {
            In::Other
        } else {
            signed.payload.extend_from_slice(line);
            In::Payload
        };
    }
    signed.payload.extend_from_slice(rest);
    signed
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEAD: &str = "tree 1\nauthor Ann <a@b> 1700000000 +0100\ncommitter Carl <c@d> 1700000060 -0800\n";

    fn signed(payload: &str, signatures: &[&str]) -> Signed {
        let signatures = signatures.iter().map(|signature| signature.as_bytes().to_vec()).collect();
        Signed { payload: payload.as_bytes().to_vec(), signatures }
    }

    #[test]
    fn a_commit_is_signed_without_its_signature_byte_for_byte() {
        let object =
            format!("{HEAD}gpgsig -----BEGIN X-----\n \n abc\n -----END X-----\nextra 1\n 2\n\ngpgsig no\n  x\n");
        let payload = format!("{HEAD}extra 1\n 2\n\ngpgsig no\n  x\n");
        assert_eq!(commit(object.as_bytes()), signed(&payload, &["-----BEGIN X-----\n\nabc\n-----END X-----\n"]));
    }

    #[test]
    fn a_signature_of_the_other_form_is_neither_signed_nor_a_signature() {
        let object = format!("{HEAD}gpgsig-sha256 A\n B\ngpgsig C\n D\n\nm\n");
        assert_eq!(commit(object.as_bytes()), signed(&format!("{HEAD}\nm\n"), &["C\nD\n"]));
        let alone = format!("{HEAD}gpgsig-sha256 A\n B\n\nm\n");
        assert_eq!(commit(alone.as_bytes()), signed(&format!("{HEAD}\nm\n"), &[]));
    }

    #[test]
    fn a_second_signature_is_seen() {
        let object = format!("{HEAD}gpgsig A\ngpgsig B\n\nm\n");
        assert_eq!(commit(object.as_bytes()).signatures.len(), 2);
    }

    #[test]
    fn a_commit_without_a_message_is_read() {
        assert_eq!(commit(HEAD.as_bytes()), signed(HEAD, &[]));
        assert_eq!(commit(b""), signed("", &[]));
    }

    #[test]
    fn a_tag_is_signed_up_to_the_last_signature() {
        let end = "-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n";
        let message = "object 1\ntype commit\ntag v1\ntagger T <t@u> 1700000120 +0000\n\nquotes\n\
                       -----BEGIN PGP SIGNATURE-----\n-----END PGP SIGNATURE-----\n";
        assert_eq!(tag(format!("{message}{end}").as_bytes()), signed(message, &[end]));
        assert_eq!(tag(b"object 1\n\nm -----BEGIN SSH SIGNATURE-----\n").signatures.len(), 0);
    }

    #[test]
    fn headers_are_read_from_before_the_message_only() {
        let object = format!("{HEAD}\ntype commit\ntagger X <x> 5 +0000\n");
        assert_eq!(header(object.as_bytes(), "tree"), Some("1"));
        assert_eq!(header(object.as_bytes(), "type"), None);
        assert_eq!(time(object.as_bytes(), "committer"), Some(1_700_000_060));
        assert_eq!(time(object.as_bytes(), "tagger"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_object_panics(object in "(gpgsig|gpgsig-sha256|tree|tagger| |\n|-----BEGIN SSH SIGNATURE-----|>|[0-9]){0,24}") {
            let _ = (commit(object.as_bytes()), tag(object.as_bytes()));
            let _ = (header(object.as_bytes(), "tree"), time(object.as_bytes(), "tagger"));
        }
    }
}
