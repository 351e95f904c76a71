//! Repositories that try to read, load, start or use up what is not theirs,
//! made here at run time. `docs/hostile-repositories.md` is the table of what
//! each tries and what came of it.

use std::{fmt::Write as _, io::Write as _, os::unix::fs::symlink, path::Path, time::Duration};

use bowline::render::{BuiltIn, HelmOptions, ProgramLimits, Programs, RenderType, detect};

use super::case::{Repository, options, prepared, program};

const CHART: &str = "apiVersion: v2\nname: web\nversion: 0.1.0\n";
const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

/// A try: what it tries, its files, and what is special about it.
struct Try {
    what: &'static str,
    files: Vec<(&'static str, String)>,
    links: Vec<(&'static str, &'static str)>,
    archives: Vec<(&'static str, Vec<u8>)>,
    helm: HelmOptions,
}

fn chart(what: &'static str, files: &[(&'static str, &str)]) -> Try {
    let mut files: Vec<_> = files.iter().map(|(path, content)| (*path, (*content).to_owned())).collect();
    if !files.iter().any(|(path, _)| *path == "app/Chart.yaml") {
        files.push(("app/Chart.yaml", CHART.to_owned()));
    }
    Try { what, files, links: Vec::new(), archives: Vec::new(), helm: HelmOptions::default() }
}

fn template(what: &'static str, template: &str) -> Try {
    chart(what, &[("app/templates/a.yaml", template)])
}

fn kustomization(what: &'static str, text: &str) -> Try {
    let files = vec![("app/kustomization.yaml", text.to_owned()), ("app/a.yaml", MAP.to_owned())];
    Try { what, files, links: Vec::new(), archives: Vec::new(), helm: HelmOptions::default() }
}

impl Try {
    fn file(mut self, path: &'static str, content: &str) -> Self {
        self.files.push((path, content.to_owned()));
        self
    }

    fn link(mut self, path: &'static str, target: &'static str) -> Self {
        self.links.push((path, target));
        self
    }

    fn archive(mut self, path: &'static str, content: Vec<u8>) -> Self {
        self.archives.push((path, content));
        self
    }

    fn value_file(mut self, path: &str) -> Self {
        self.helm.value_files.push(path.to_owned());
        self
    }

    /// What came of it, in a line.
    fn answer(&self, programs: &Programs) -> String {
        let repository = Repository::new(&[]);
        self.files.iter().for_each(|(path, content)| repository.put(path, content.as_bytes()));
        self.archives.iter().for_each(|(path, content)| repository.put(path, content));
        for (path, target) in &self.links {
            let link = repository.path().join(path);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(target, link).unwrap();
        }
        let kind = detect(&repository.files(), "app").unwrap();
        assert_ne!(kind, RenderType::Directory);
        let common = options("app");
        let rendered = prepared(&repository.files(), kind, &common, &self.helm)
            .and_then(|prepared| prepared.render(programs, &common, &BuiltIn));
        match rendered {
            Err(failure) => failure.problems[0].to_string(),
            Ok(render) => {
                let values: Vec<String> =
                    render.manifests.iter().map(|it| it.value.read()["data"].to_string()).collect();
                format!("renders, with nothing of it: data is {}", values.join(", "))
            }
        }
    }
}

/// A packed chart with entries as they are given, whatever their names.
fn packed(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    let mut encoder = tar.into_inner().unwrap();
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

fn tries() -> Vec<Try> {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                g: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
    let depends = |repository: &str| {
        format!("{CHART}dependencies:\n- {{name: x, version: 0.1.0, repository: \"{repository}\"}}\n")
    };
    vec![
        kustomization("a base from another host", "resources:\n- https://example.com/org/repo//base?ref=v1\n"),
        kustomization("a base from another host, in short form", "resources:\n- github.com/org/repo//base\n"),
        kustomization("a base by SSH", "components:\n- git@example.com:org/repo.git\n"),
        kustomization("a file of this machine's own network", "resources:\n- http://127.0.0.1:8080/metrics\n"),
        kustomization("a base from another host, in another spelling", "Re\u{17f}ources:\n- http://127.0.0.1:8080/a.yaml\n"),
        kustomization("a URL for which the repository has a directory", "resources:\n- https://example.com/a.yaml\n")
            .file("app/https:/example.com/a.yaml", MAP),
        kustomization("data from another host", "resources: [a.yaml]\nconfigMapGenerator:\n- name: c\n  files: [\"x=https://example.com/x\"]\n"),
        kustomization(
            "a patch from another host, in a transformer that is written inline",
            "resources: [a.yaml]\ntransformers:\n- |\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: t}\n  path: https://example.com/p.yaml\n",
        ),
        kustomization("a schema from another host", "resources: [a.yaml]\nopenapi: {path: https://example.com/s.json}\n"),
        kustomization("charts, which kustomize would load", "resources: [a.yaml]\nhelmCharts:\n- {name: x, repo: https://example.com}\n"),
        kustomization(
            "a program as a plugin",
            "resources: [a.yaml]\ngenerators:\n- |\n  apiVersion: example.com/v1\n  kind: Run\n  metadata:\n    name: r\n    annotations: {config.kubernetes.io/function: \"exec: {path: ./run.sh}\"}\n",
        ).file("app/run.sh", "#!/bin/sh\ntouch /opt/owned\n"),
        kustomization(
            "a container as a plugin",
            "resources: [a.yaml]\ntransformers:\n- |\n  apiVersion: example.com/v1\n  kind: Run\n  metadata:\n    name: r\n    annotations: {config.kubernetes.io/function: \"container: {image: example.com/x}\"}\n",
        ),
        kustomization("a file of this machine, by its path", "resources: [/etc/passwd]\n"),
        kustomization("a file of this machine, upwards", "resources: [../../../../etc/passwd]\n"),
        kustomization("a file of this machine, by a link", "resources: [a.yaml]\nconfigMapGenerator:\n- name: c\n  files: [x]\n").link("app/x", "/etc/passwd"),
        kustomization("a directory of this machine, by a link", "resources: [out]\n").link("app/out", "/etc"),
        kustomization("a file of the repository beside the kustomization", "resources: [a.yaml]\nconfigMapGenerator:\n- name: c\n  files: [../secret.txt]\n").file("secret.txt", "x"),
        kustomization("kustomizations in a circle", "resources: [../b]\n").file("b/kustomization.yaml", "resources: [../app]\n"),
        kustomization("links in a circle", "resources: [one]\n").link("app/one", "two").link("app/two", "one"),
        kustomization("a few lines that expand to millions", bomb),
        chart("values of this machine, by their path", &[]).value_file("/etc/passwd"),
        chart("values of this machine, upwards", &[]).value_file("../../../etc/passwd"),
        chart("values from another host", &[]).value_file("https://example.com/values.yaml"),
        chart("values of this machine, by a link", &[]).link("app/prod.yaml", "/etc/passwd").value_file("prod.yaml"),
        template("a file of this machine in a template", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: {{ .Files.Get \"../../../../etc/passwd\" | quote }}}\n"),
        chart("a file of this machine by a link in the chart", &[("app/templates/a.yaml", MAP)]).link("app/files/x", "/etc/passwd"),
        template("the environment", "a: {{ env \"KUBERNETES_SERVICE_HOST\" }}\n"),
        template("a name service", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: {{ getHostByName \"example.com\" | quote }}}\n"),
        template("the cluster", "a: {{ lookup \"v1\" \"Secret\" \"kube-system\" \"\" }}\n"),
        chart("a schema from another host", &[("app/values.schema.json", "{\"$ref\": \"http://169.254.169.254/latest/meta-data\"}")]),
        chart("a dependency from another host", &[("app/Chart.yaml", &depends("https://charts.example.com"))]),
        chart("a dependency from a registry", &[("app/Chart.yaml", &depends("oci://registry.example.com/charts"))]),
        chart("a dependency of this machine", &[("app/Chart.yaml", &depends("file:///etc"))]),
        chart("a dependency out of the repository", &[("app/Chart.yaml", &depends("file://../../etc"))]),
        chart("a chart that depends on itself", &[("app/Chart.yaml", &depends("file://../app"))]),
        template("a loop without an end", "{{- define \"x\" }}{{ include \"x\" . }}{{ end }}{{ include \"x\" . }}\n"),
        template("all memory", "{{- $x := until 200000000 }}\n"),
        template("a text without an end", "{{- range until 450000 }}\n# 0123456789012345678901234567890123456789\n{{- end }}\n"),
        template("all time", "{{- range until 30000 }}{{ range until 30000 }}{{ $x := sha256sum \"x\" }}{{ end }}{{ end }}\n"),
        chart("a packed chart that fills the memory", &[]).archive("app/charts/x-1.tgz", packed(&[("x/a", &vec![0; 300 << 20])])),
        chart("a packed chart with a path upwards", &[]).archive("app/charts/x-1.tgz", packed(&[("x/../../../opt/owned", b"x")])),
        chart("a packed chart with a path from the root", &[]).archive("app/charts/x-1.tgz", packed(&[("/opt/owned", b"x")])),
        chart("a packed chart that is none", &[]).archive("app/charts/x-1.tgz", b"nothing".to_vec()),
    ]
}

#[test]
fn what_hostile_repositories_try_and_what_comes_of_it() {
    let mut programs = Programs::find(Some(&program("helm")), Some(&program("kustomize")));
    programs.limits = ProgramLimits { time: Duration::from_secs(20), memory: 384 << 20, output: 16 << 20 };
    let _ = std::fs::remove_file("/opt/owned");
    let mut page = String::from(HEAD);
    for attempt in tries() {
        let answer = attempt.answer(&programs).replace('|', "\\|");
        assert!(!answer.contains("root:"), "{}: {answer}", attempt.what);
        writeln!(page, "| {} | {answer} |", attempt.what).unwrap();
    }
    assert!(!Path::new("/opt/owned").exists(), "something was written where it must not be");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hostile-repositories.md");
    if std::env::var_os("BOWLINE_GENERATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, page, "docs/hostile-repositories.md is not what comes of it: BOWLINE_GENERATE=1 writes it anew");
}

const HEAD: &str = "# What hostile repositories try

Whoever may push to a repository chooses what is rendered. Each line is a repository that a test makes (`tests/programs/hostile.rs`), what it tries, and what Bowline answers; the table is the test's output. The limits of the test are smaller than the ordinary ones (60 seconds and 64 MiB of output for each run of a program).

A program that renders runs in a private directory with a copy of just the files that are needed, an empty home, an environment of its own, no way to find other programs and no credentials of the cluster. It is ended with all that it started.

| tries | what comes of it |
| --- | --- |
";
