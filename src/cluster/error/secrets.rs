//! What may be told of an error about a Secret.
//!
//! Errors about content print the content: a schema error prints the value
//! that has the wrong type, a bad base64 text is printed with what stands
//! around it, an admission webhook may print anything. So such messages are
//! made anew from parts that cannot hold a value.

/// Phrases of the server that say what is wrong and hold no value.
const SAFE_PHRASES: &[&str] = &[
    "field is immutable",
    "field not declared in schema",
    "illegal base64 data",
    "duplicate entries for key",
    "Required value",
    "Too long",
    "Unsupported value",
    "Forbidden",
    "expected string",
    "expected map",
    "request is too large",
    "failed calling webhook",
];

/// The message as it may be told. Only answers that speak of names, rights and
/// versions are repeated as they are.
pub(super) fn withhold(code: u16, reason: &str, message: &str, fields: &[String]) -> String {
    if is_about_access(code, message) {
        return message.to_owned();
    }
    let mut text = String::from("the server refuses this Secret");
    if !fields.is_empty() {
        text.push_str(" at ");
        text.push_str(&fields.join(", "));
    }
    let phrases: Vec<&str> = SAFE_PHRASES.iter().copied().filter(|phrase| message.contains(phrase)).collect();
    match (phrases.is_empty(), reason.is_empty()) {
        (false, _) => text.push_str(&format!(": {}", phrases.join(", "))),
        (true, false) => text.push_str(&format!(": {reason}")),
        (true, true) => {}
    }
    text.push_str(" (the rest of its answer is withheld: it may hold a value)");
    text
}

fn is_about_access(code: u16, message: &str) -> bool {
    if message.contains("admission webhook") || message.contains("ValidatingAdmissionPolicy") {
        return false;
    }
    match code {
        401 | 404 | 409 | 429 | 502 | 503 | 504 => true,
        403 => {
            (message.contains("User \"") && message.contains("\" cannot "))
                || message.contains("exceeded quota")
                || message.contains("because it is being terminated")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        500,
        "failed to create typed patch object (a/b; /v1, Kind=Secret): .data.password: expected string, got &value.valueUnstructured{Value:hunter2}"
    )]
    #[case(
        400,
        "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 3, error found in #10 byte of ...|hunter2\"}|..."
    )]
    #[case(
        422,
        "Secret \"a\" is invalid: data[password]: Invalid value: \"hunter2\": field is immutable when `immutable` is set"
    )]
    #[case(403, "admission webhook \"scan.example.com\" denied the request: password hunter2 is weak")]
    fn no_message_about_the_content_of_a_secret_holds_its_value(#[case] code: u16, #[case] message: &str) {
        let told = withhold(code, "Invalid", message, &["data.password".into()]);
        assert!(!told.contains("hunter2"), "{told}");
        assert!(told.contains("data.password"), "{told}");
    }

    #[rstest]
    #[case(404, "namespaces \"a\" not found")]
    #[case(403, "secrets is forbidden: User \"system:serviceaccount:a:b\" cannot patch resource \"secrets\"")]
    #[case(409, "Operation cannot be fulfilled on secrets \"a\": the object has been modified")]
    fn messages_about_names_rights_and_versions_are_told_as_they_are(#[case] code: u16, #[case] message: &str) {
        assert_eq!(withhold(code, "", message, &[]), message);
    }
}
