//! Files that the real `sops` encrypted: decrypted to what `sops decrypt` makes
//! of them, and refused where they were damaged.

use std::{
    process::{Command, Output},
    sync::Arc,
};

use age::{secrecy::ExposeSecret as _, x25519::Identity};
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use bowline::{
    render::{
        AgeKeys, BuiltIn, Decryption, DirectoryOptions, HelmOptions, Programs, Render, RenderFailure, RenderType,
        directory, directory_after, json_array,
    },
    source::{tree::MemoryTree, working::WorkingTree},
};
use rstest::rstest;
use serde_json::{Value, json};

use super::case::{Repository, options, prepared, program, programs, words};

/// An age key, made for the test.
struct Key(Identity);

impl Key {
    fn new() -> Self {
        Self(Identity::generate())
    }

    fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    fn file(&self) -> String {
        format!("# a key\n{}\n", self.0.to_string().expose_secret())
    }

    fn decryption(&self) -> Decryption {
        Decryption::by(AgeKeys::read("Secret shop/age", [("age.agekey", self.file().as_bytes())]).unwrap())
    }

    /// Runs the real program in a repository.
    fn sops(&self, repository: &Repository, arguments: &[&str]) -> Output {
        let output = Command::new(program("sops"))
            .args(arguments)
            .current_dir(repository.path())
            .env_clear()
            .env("HOME", repository.path())
            .env("SOPS_AGE_KEY", self.0.to_string().expose_secret())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Encrypts a file by a rule: fields of SOPS' own configuration.
    fn encrypt(&self, repository: &Repository, file: &str, rule: &[&str]) {
        let rule: String = rule.iter().map(|field| format!("  {field}\n")).collect();
        let configuration = format!("creation_rules:\n- age: {}\n{rule}", self.recipient());
        repository.put(".sops.yaml", configuration.as_bytes());
        self.sops(repository, &["encrypt", "-i", file]);
    }

    fn decrypt(&self, repository: &Repository, file: &str) -> Vec<u8> {
        self.sops(repository, &["decrypt", file]).stdout
    }
}

fn with(decryption: Decryption) -> DirectoryOptions {
    DirectoryOptions { decryption, ..options(".") }
}

fn render(repository: &Repository, decryption: Decryption) -> Result<Render, RenderFailure> {
    directory(&WorkingTree::open(repository.path()).unwrap(), &with(decryption), &BuiltIn)
}

/// All manifests, whole.
fn manifests(render: &Render) -> Value {
    json_array(&render.manifests, true, &bowline::manifest::Masker::new([0; 32]))
}

fn problems(repository: &Repository, decryption: Decryption) -> String {
    match render(repository, decryption) {
        Ok(render) => panic!("it renders to {} objects", render.manifests.len()),
        Err(failure) => words(&failure),
    }
}

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: web\n  labels: {app: web}\nstringData:\n  # of the database\n  user: webuser1\n  password: hunter22\n";

const TYPES: &str = r#"# of the whole file
apiVersion: example.com/v1
kind: Thing
metadata:
  name: web
  annotations:
    quoted: "yes"
    number: "0644"
spec:
  # of an integer
  int: 4242
  octal: 0644
  under: 1_000
  negative: -7
  float: 3.25
  whole: 2.0
  large: 1.0e+21
  small: 1.0e-7
  yes: true
  no: false
  word: yes
  nothing: null
  empty: ""
  blank: " "
  map: {}
  list: []
  date: 2024-05-06
  time: 2024-05-06T07:08:09.5Z
  text: |
    first line
      second: line

    # no comment
  folded: >-
    one
    two
  unicode: "Grüße, 世界 🙂 \t \x07"
  colon:key: "a:b"
  looks: "ENC[AES256_GCM"
  nested:
  # of an item
  - one  # inline
  - [1, two, [true, null, ""]]
  - name: deep
    values:
    - {a: 1, b: [2.5]}
  # after the last
  plain_unencrypted: stays
  of_a_map_unencrypted:
    port: 8080
    ratio: 0.1
    on: true
"#;

const JSON: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"b": "two<&>", "a": "", "c": "\u00fc\u2028"}, "immutable": true}"#;

const ALL: &[&str] = &[];

#[rstest]
#[case::a_secret_by_regex("web.yaml", SECRET, &["encrypted_regex: ^(data|stringData)$"], "hunter22")]
#[case::by_a_suffix("web.yaml", SECRET, &["encrypted_suffix: word"], "hunter22")]
#[case::all_but_a_regex("web.yaml", SECRET, &["unencrypted_regex: ^(apiVersion|kind|metadata)$"], "hunter22")]
#[case::all_but_a_suffix("web.yaml", SECRET, &["unencrypted_suffix: user"], "hunter22")]
#[case::a_whole_file("web.yml", SECRET, ALL, "hunter22")]
#[case::by_a_comment("web.yaml", SECRET, &["encrypted_comment_regex: database"], "webuser1")]
#[case::all_but_by_a_comment("web.yaml", SECRET, &["unencrypted_comment_regex: database"], "v1")]
#[case::a_code_over_encrypted_values_only("web.yaml", SECRET, &["encrypted_regex: ^stringData$", "mac_only_encrypted: true"], "hunter22")]
#[case::all_types("web.yaml", TYPES, ALL, "4242")]
#[case::all_types_below_spec("web.yaml", TYPES, &["encrypted_regex: ^spec$"], "4242")]
#[case::all_types_in_the_clear("web.yaml", TYPES, &["encrypted_regex: ^nested$"], "deep")]
#[case::all_types_without_a_code("web.yaml", TYPES, &["encrypted_regex: ^nested$", "mac_only_encrypted: true"], "deep")]
#[case::json("web.json", JSON, ALL, "two")]
#[case::json_in_parts("web.json", JSON, &["encrypted_regex: ^data$"], "two")]
fn a_file_comes_to_what_sops_makes_of_it(
    #[case] file: &str,
    #[case] clear: &str,
    #[case] arguments: &[&str],
    #[case] secret: &str,
) {
    let (key, repository) = (Key::new(), Repository::new(&[(file, clear)]));
    let untouched = render(&repository, Decryption::default()).map(|render| manifests(&render));
    key.encrypt(&repository, file, arguments);
    let encrypted = std::fs::read_to_string(repository.path().join(file)).unwrap();
    assert!(encrypted.contains("ENC[AES256_GCM") && !encrypted.contains(&format!(": {secret}\n")), "{encrypted}");
    let rendered = render(&repository, key.decryption()).unwrap_or_else(|failure| panic!("{}", words(&failure)));
    repository.put(file, &key.decrypt(&repository, file));
    let expected = render(&repository, Decryption::default()).unwrap_or_else(|failure| panic!("{}", words(&failure)));
    assert_eq!(manifests(&rendered), manifests(&expected));
    if let (Ok(untouched), SECRET) = (untouched, clear) {
        assert_eq!(manifests(&rendered), untouched, "and to what it was before");
    }
}

#[test]
fn all_documents_of_a_file_are_decrypted() {
    let text =
        format!("{SECRET}---\n{}---\n{}", SECRET.replace("name: web", "name: api"), SECRET.replace("web", "job"));
    let (key, repository) = (Key::new(), Repository::new(&[("all.yaml", &text)]));
    let before = manifests(&render(&repository, Decryption::default()).unwrap());
    key.encrypt(&repository, "all.yaml", &["encrypted_regex: ^stringData$"]);
    assert_eq!(manifests(&render(&repository, key.decryption()).unwrap()), before);
}

#[test]
fn one_of_several_recipients_is_enough_and_one_of_several_keys() {
    let (one, other, stranger) = (Key::new(), Key::new(), Key::new());
    let repository = Repository::new(&[("web.yaml", SECRET)]);
    let both = format!("{},{}", one.recipient(), other.recipient());
    one.sops(&repository, &["encrypt", "-i", "--age", &both, "web.yaml"]);
    let files = [stranger.file(), other.file()];
    let files = files.iter().enumerate().map(|(index, file)| (["a", "b"][index], file.as_bytes()));
    let keys = AgeKeys::read("Secret shop/age", files).unwrap();
    let rendered = render(&repository, Decryption::by(keys)).unwrap();
    assert_eq!(manifests(&rendered)[0]["data"]["password"], BASE64.encode("hunter22"));
}

#[test]
fn the_place_of_a_decrypted_value_is_that_in_the_file() {
    let (key, repository) = (Key::new(), Repository::new(&[("web.yaml", SECRET)]));
    repository.put("web.yaml", SECRET.replace("password: hunter22", "password: 42421").as_bytes());
    key.encrypt(&repository, "web.yaml", &["encrypted_regex: ^stringData$"]);
    let told = problems(&repository, key.decryption());
    assert_eq!(told, "web.yaml:10:5: stringData.password must be text\n  hint: quote it to make it text");
}

/// A file that was encrypted, and a way to damage it.
type Damage = fn(&str) -> String;

fn value_of<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: "))).unwrap()
}

fn flipped(text: &str, from: &str) -> String {
    let at = text.find(from).unwrap() + from.len();
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

#[rstest]
#[case::a_value_swapped_with_another(
    |text: &str| text.replace(value_of(text, "user"), "@").replace(value_of(text, "password"), value_of(text, "user")).replace('@', value_of(text, "password")),
    "web.yaml:9:11: stringData.user cannot be decrypted: it was changed or moved after it was encrypted",
)]
#[case::a_value_edited(
    |text: &str| flipped(text, "password: ENC[AES256_GCM,data:"),
    "web.yaml:10:15: stringData.password cannot be decrypted: it was changed or moved after it was encrypted",
)]
#[case::a_value_in_the_clear(
    |text: &str| text.replace(value_of(text, "password"), "mine"),
    "web.yaml:10:15: stringData.password is not encrypted, as the SOPS metadata of the file say that it is: it was added after the file was encrypted",
)]
#[case::a_number_in_the_clear(
    |text: &str| text.replace(value_of(text, "password"), "12"),
    "web.yaml:10:15: stringData.password is not encrypted, as the SOPS metadata of the file say that it is: it was added after the file was encrypted",
)]
#[case::a_type_changed(
    |text: &str| text.replacen("type:str", "type:int", 1),
    "web.yaml:9:11: stringData.user cannot be decrypted: it was changed or moved after it was encrypted",
)]
#[case::a_key_added_where_nothing_is_encrypted(
    |text: &str| text.replace("name: web", "name: web\n    namespace: other"),
    "web.yaml: was changed after it was encrypted: the message authentication code of SOPS does not fit",
)]
#[case::a_label_changed(
    |text: &str| text.replace("app: web", "app: api"),
    "web.yaml: was changed after it was encrypted: the message authentication code of SOPS does not fit",
)]
#[case::a_value_taken_out(
    |text: &str| text.lines().filter(|line| !line.contains("user:")).map(|line| format!("{line}\n")).collect(),
    "web.yaml: was changed after it was encrypted: the message authentication code of SOPS does not fit",
)]
#[case::another_time(
    |text: &str| text.replace(value_of(text, "lastmodified"), "\"2020-01-01T00:00:00Z\""),
    "web.yaml: was changed after it was encrypted: the message authentication code of SOPS does not fit",
)]
#[case::another_rule(
    |text: &str| text.replace("^stringData$", "^stringData$|none"),
    "",
)]
#[case::a_rule_that_covers_less(
    |text: &str| text.replace("^stringData$", "^none$"),
    "web.yaml: was changed after it was encrypted: the message authentication code of SOPS does not fit",
)]
#[case::the_code_taken_out(
    |text: &str| text.replace(&format!("mac: {}", value_of(text, "mac")), "other: x"),
    "web.yaml:12:5: has no message authentication code of SOPS (sops.mac), so nothing tells whether it was changed",
)]
#[case::the_code_of_another_file(
    |text: &str| flipped(text, "mac: ENC[AES256_GCM,data:"),
    "web.yaml: was changed after it was encrypted: the message authentication code of SOPS does not fit",
)]
#[case::the_key_damaged(
    |text: &str| flipped(text, &text[..text.find("-----END AGE").unwrap() - 60]),
    "*that cannot be read: it is damaged",
)]
#[case::cut_off_in_the_metadata(
    |text: &str| text.split_once("    lastmodified").unwrap().0.to_owned(),
    "web.yaml:12:5: has no message authentication code of SOPS (sops.mac), so nothing tells whether it was changed",
)]
#[case::cut_off_before_them(
    |text: &str| text.split_once("sops:").unwrap().0.to_owned(),
    "web.yaml:10:5: holds a value that SOPS encrypted, and the file has no SOPS metadata: it is not whole",
)]
#[case::a_document_added(
    |text: &str| format!("{text}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n"),
    "*is not encrypted with the others",
)]
#[case::for_pgp_only(
    |text: &str| text.replace("    age:\n", "    pgp:\n"),
    "web.yaml:12:5: is encrypted by SOPS for PGP only; files are decrypted by age keys",
)]
#[case::in_key_groups(
    |text: &str| text.replace("    age:\n", "    key_groups:\n"),
    "web.yaml:12:5: is encrypted by SOPS for key groups (Shamir's secret sharing), which is not supported",
)]
#[case::an_alias_in_it(
    |text: &str| text.replace("name: web", "name: &a web").replace("app: web", "app: *a"),
    "web.yaml:6:14: an alias cannot stand in a file that is encrypted as a whole",
)]
fn a_damaged_file_is_refused_with_what_is_wrong(#[case] damage: Damage, #[case] expected: &str) {
    let (key, repository) = (Key::new(), Repository::new(&[("web.yaml", SECRET)]));
    key.encrypt(&repository, "web.yaml", &["encrypted_regex: ^stringData$"]);
    let whole = std::fs::read_to_string(repository.path().join("web.yaml")).unwrap();
    let damaged = damage(&whole);
    assert_ne!(damaged, whole, "nothing was damaged");
    repository.put("web.yaml", damaged.as_bytes());
    if expected.is_empty() {
        render(&repository, key.decryption()).unwrap();
        return;
    }
    let told = problems(&repository, key.decryption());
    match expected.strip_prefix('*') {
        Some(part) => assert!(told.contains(part), "{told}"),
        None => assert_eq!(told.lines().next().unwrap(), expected, "{damaged}"),
    }
    for secret in ["hunter22", "webuser1", &BASE64.encode("hunter22")] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn without_a_key_that_fits_nothing_is_rendered_and_it_is_said_what_to_do() {
    let (key, other) = (Key::new(), Key::new());
    let repository =
        Repository::new(&[("web.yaml", SECRET), ("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")]);
    key.encrypt(&repository, "web.yaml", &["encrypted_regex: ^stringData$"]);
    assert_eq!(
        problems(&repository, Decryption::default()),
        "web.yaml: is encrypted by SOPS, and no key is given: name a Secret with it in render.decryption.secretRef (a \
         command takes a file of keys by --age-key-file)"
    );
    assert_eq!(
        problems(&repository, Decryption::unavailable("keys.txt cannot be read: no such file")),
        "web.yaml: is encrypted by SOPS, and its key is not at hand: keys.txt cannot be read: no such file"
    );
    let told = problems(&repository, other.decryption());
    let expected = format!(
        "web.yaml: is encrypted by SOPS for {}, and no age key of Secret shop/age is one of these\n  hint: add the key \
         of one of these recipients, or encrypt the file for a key that is there (`sops rotate -i --add-age RECIPIENT \
         FILE`)",
        key.recipient()
    );
    assert_eq!(told, expected);
}

#[test]
fn a_value_is_in_no_message_of_what_is_wrong_with_its_object() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {secret: \"not a label: hunter22\"}\n";
    let (key, repository) = (Key::new(), Repository::new(&[("a.yaml", text)]));
    key.encrypt(&repository, "a.yaml", &["encrypted_regex: ^labels$"]);
    let told = problems(&repository, key.decryption());
    assert!(told.contains("metadata.labels") && !told.contains("hunter22"), "{told}");
}

#[test]
fn keys_are_no_input_and_with_others_nothing_is_taken_from_an_earlier_render() {
    let (key, other) = (Key::new(), Key::new());
    let repository = Repository::new(&[("web.yaml", SECRET)]);
    key.encrypt(&repository, "web.yaml", &["encrypted_regex: ^stringData$"]);
    let rendered = render(&repository, key.decryption()).unwrap();
    let both = AgeKeys::read("x", [("a", key.file().as_bytes()), ("b", other.file().as_bytes())]).unwrap();
    let with_both = render(&repository, Decryption::by(both)).unwrap();
    assert_eq!((&with_both.bundle, &with_both.inputs), (&rendered.bundle, &rendered.inputs));

    // What an earlier render knows is of no use to one with other keys.
    let content = std::fs::read_to_string(repository.path().join("web.yaml")).unwrap();
    let tree: MemoryTree = [("web.yaml", content.as_str())].into_iter().collect();
    let first = directory(&tree, &with(key.decryption()), &BuiltIn).unwrap();
    assert_eq!(first.known.len(), 1);
    let again = |decryption| directory_after(&tree, &with(decryption), &BuiltIn, &first.known, &Programs::default());
    assert!(Arc::ptr_eq(&again(key.decryption()).unwrap().manifests[0], &first.manifests[0]));
    assert!(again(other.decryption()).is_err() && again(Decryption::default()).is_err());
}

#[test]
fn an_object_for_an_operator_stays_as_it_is() {
    let text = "apiVersion: isindir.github.com/v1alpha3\nkind: SopsSecret\nmetadata: {name: a}\nspec: {secretTemplates: [{name: b, stringData: {c: hunter22}}]}\n";
    let (key, repository) = (Key::new(), Repository::new(&[("a.yaml", text)]));
    key.encrypt(&repository, "a.yaml", &["encrypted_suffix: Templates"]);
    let rendered = manifests(&render(&repository, Decryption::default()).unwrap());
    assert!(rendered[0]["spec"]["secretTemplates"][0]["name"].as_str().unwrap().starts_with("ENC["), "{rendered}");
    assert!(rendered[0]["sops"]["mac"].is_string());
}

const ENV: &str = "# the database\nUSER=webuser1\nPASSWORD=hunter22=x\nEMPTY=\nLINES=one\\ntwo\nWORDS=two words \n";

/// A kustomization whose inputs are encrypted, and the same in the clear.
#[test]
fn all_inputs_of_a_kustomization_are_decrypted_as_sops_decrypts_them() {
    let binary: Vec<u8> = (0..=255).rev().collect();
    let kustomization = "resources: [secret.yaml]\npatches:\n- path: patch.yaml\ngeneratorOptions: {disableNameSuffixHash: true}\n\
                         secretGenerator:\n- name: env\n  envs: [web.env]\n- name: files\n  files: [web.env, raw.bin, note.txt]\n\
                         - name: structured\n  files: [config.yaml, config.json]\n";
    let (key, repository) = (
        Key::new(),
        Repository::new(&[
            ("kustomization.yaml", kustomization),
            ("secret.yaml", SECRET),
            ("patch.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {token: patched1}\n"),
            ("web.env", ENV),
            ("note.txt", "a note: hunter22\n  of: {lines\n"),
            ("config.yaml", "# why\nuser: webuser1\nports: [1, 2]\ntext: |\n  a\n  b\n"),
            ("config.json", "{\"user\": \"webuser1\", \"ratio\": 0.5}"),
        ]),
    );
    repository.put("raw.bin", &binary);
    key.encrypt(&repository, "secret.yaml", &["encrypted_regex: ^stringData$"]);
    key.encrypt(&repository, "patch.yaml", &["encrypted_regex: ^stringData$"]);
    for file in ["web.env", "raw.bin", "note.txt", "config.yaml", "config.json"] {
        key.encrypt(&repository, file, &[]);
    }
    let build = |decryption: Decryption| {
        let prepared =
            prepared(&repository.files(), RenderType::Kustomize, &with(decryption), &HelmOptions::default())?;
        prepared.render(programs(), &with(Decryption::default()), &BuiltIn)
    };
    let rendered = build(key.decryption()).unwrap_or_else(|failure| panic!("{}", words(&failure)));
    let refused = words(&build(Decryption::default()).unwrap_err());
    assert_eq!(refused.matches("is encrypted by SOPS, and no key is given").count(), 8, "{refused}");

    for file in ["secret.yaml", "patch.yaml", "web.env", "raw.bin", "note.txt", "config.yaml", "config.json"] {
        repository.put(file, &key.decrypt(&repository, file));
    }
    let expected = build(Decryption::default()).unwrap();
    let (mut rendered, mut expected) = (manifests(&rendered), manifests(&expected));
    let structured = |manifests: &mut Value| {
        let object = manifests.as_array_mut().unwrap().iter_mut().find(|it| it["metadata"]["name"] == "structured");
        let data = object.unwrap()["data"].take();
        let read = |file: &str| {
            let bytes = BASE64.decode(data[file].as_str().unwrap()).unwrap();
            serde_yaml::from_slice::<Value>(&bytes).unwrap()
        };
        [read("config.yaml"), read("config.json")]
    };
    // With the same values; the layout is another one.
    assert_eq!(structured(&mut rendered), structured(&mut expected));
    assert_eq!(rendered, expected);
    let raw = rendered.as_array().unwrap().iter().find(|it| it["metadata"]["name"] == "files").unwrap();
    assert_eq!(BASE64.decode(raw["data"]["raw.bin"].as_str().unwrap()).unwrap(), binary);
    assert_eq!(BASE64.decode(raw["data"]["web.env"].as_str().unwrap()).unwrap(), ENV.as_bytes());
}

#[rstest]
#[case::a_value_edited(
    "PASSWORD=ENC[AES256_GCM,data:",
    "web.env: PASSWORD cannot be decrypted: it was changed or moved after it was encrypted"
)]
#[case::the_code_edited(
    "sops_mac=ENC[AES256_GCM,data:",
    "web.env: was changed after it was encrypted: the message authentication code of SOPS does not fit"
)]
fn a_damaged_dotenv_file_is_refused(#[case] at: &str, #[case] expected: &str) {
    let kustomization = "secretGenerator:\n- name: env\n  envs: [web.env]\n";
    let (key, repository) = (Key::new(), Repository::new(&[("kustomization.yaml", kustomization), ("web.env", ENV)]));
    key.encrypt(&repository, "web.env", &[]);
    let text = std::fs::read_to_string(repository.path().join("web.env")).unwrap();
    repository.put("web.env", flipped(&text, at).as_bytes());
    let failed = prepared(&repository.files(), RenderType::Kustomize, &with(key.decryption()), &HelmOptions::default());
    let told = words(&failed.err().unwrap());
    assert_eq!(told.lines().next().unwrap(), expected);
}

#[test]
fn an_ini_file_is_refused_rather_than_used_as_it_is() {
    let kustomization = "secretGenerator:\n- name: ini\n  files: [web.ini]\n";
    let (key, repository) = (
        Key::new(),
        Repository::new(&[("kustomization.yaml", kustomization), ("web.ini", "[db]\npassword = hunter22\n")]),
    );
    key.encrypt(&repository, "web.ini", &[]);
    let failed = prepared(&repository.files(), RenderType::Kustomize, &with(key.decryption()), &HelmOptions::default());
    let told = words(&failed.err().unwrap());
    assert!(told.starts_with("web.ini: is an INI file that SOPS encrypted, which is not supported"), "{told}");
}

#[test]
fn value_files_of_a_chart_are_decrypted_and_their_values_are_in_no_message() {
    let template = "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData:\n  password: {{ .Values.password }}\n  user: {{ .Values.user }}\n  bad: {{ if .Values.fail }}{{ fail (printf \"no %s\" .Values.password) }}{{ end }}x\n";
    let (key, repository) = (
        Key::new(),
        Repository::new(&[
            ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
            ("values.yaml", "user: webuser1\npassword: none\n"),
            ("secrets.yaml", "password: hunter22\n"),
            ("templates/a.yaml", template),
        ]),
    );
    key.encrypt(&repository, "secrets.yaml", &[]);
    key.encrypt(&repository, "values.yaml", &[]);
    let helm = |fail: bool| HelmOptions {
        value_files: vec!["secrets.yaml".to_owned()],
        values: Some(json!({"fail": fail})),
        ..HelmOptions::default()
    };
    let run = |decryption: Decryption, fail: bool| {
        let prepared = prepared(&repository.files(), RenderType::Helm, &with(decryption), &helm(fail))?;
        prepared.render(programs(), &with(Decryption::default()), &BuiltIn)
    };
    let rendered = manifests(&run(key.decryption(), false).unwrap_or_else(|failure| panic!("{}", words(&failure))));
    assert_eq!(rendered[0]["data"]["password"], BASE64.encode("hunter22"));
    assert_eq!(rendered[0]["data"]["user"], BASE64.encode("webuser1"));
    assert_eq!(words(&run(key.decryption(), true).unwrap_err()), "templates/a.yaml:7:32: no ***");
    let refused = words(&run(Decryption::default(), false).unwrap_err());
    assert!(refused.contains("secrets.yaml: is encrypted by SOPS, and no key"), "{refused}");
    assert!(refused.contains("values.yaml: is encrypted by SOPS, and no key"), "{refused}");
}

#[test]
fn an_encrypted_template_of_a_chart_is_refused() {
    let (key, repository) = (
        Key::new(),
        Repository::new(&[("Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"), ("templates/a.yaml", SECRET)]),
    );
    key.encrypt(&repository, "templates/a.yaml", &["encrypted_regex: ^stringData$"]);
    let prepared =
        prepared(&repository.files(), RenderType::Helm, &with(key.decryption()), &HelmOptions::default()).unwrap();
    let told = words(&prepared.render(programs(), &with(Decryption::default()), &BuiltIn).unwrap_err());
    let expected = "templates/a.yaml: is encrypted by SOPS, and is not decrypted: it is not at the top of a file of its \
                    own, or comes out of a template";
    assert_eq!(told, expected);
}

#[test]
fn a_person_renders_with_the_file_of_their_keys() {
    let (key, repository) = (Key::new(), Repository::new(&[("web.yaml", SECRET)]));
    key.encrypt(&repository, "web.yaml", &["encrypted_regex: ^stringData$"]);
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), key.file()).unwrap();
    let file = keys.path().to_str().unwrap();
    let run = |environment: Option<&str>, arguments: &[&str]| {
        let mut bowline = assert_cmd::Command::cargo_bin("bowline").unwrap();
        bowline.env_clear().envs(environment.map(|file| ("SOPS_AGE_KEY_FILE", file)));
        let output = bowline.arg(arguments[0]).arg(repository.path()).args(&arguments[1..]).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = run(None, &["render", "--show-secrets", "--age-key-file", file]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains(&BASE64.encode("hunter22")), "{out}");
    let (code, out, _) = run(Some(file), &["render"]);
    assert!(code == 0 && out.contains("password: '*** (8 bytes") || out.contains("password: \"*** (8 bytes"), "{out}");
    let (code, out, _) = run(Some(file), &["validate"]);
    assert_eq!(code, 0, "{out}");
    let (code, _, err) = run(None, &["render"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: web.yaml: is encrypted by SOPS, and no key is given"), "{err}");
    let (code, _, err) = run(Some("nowhere.txt"), &["render"]);
    let expected = "error: web.yaml: is encrypted by SOPS, and its key is not at hand: nowhere.txt cannot be read: ";
    assert_eq!(code, 1);
    assert!(err.starts_with(expected), "{err}");
    // A file of keys is not asked for where nothing is encrypted.
    repository.put("web.yaml", SECRET.as_bytes());
    assert_eq!(run(Some("nowhere.txt"), &["render"]).0, 0);
}
