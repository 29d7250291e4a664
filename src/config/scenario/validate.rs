//! From a scenario as it is written to one that holds together: [`Scenario::read`].
//! Must not know files or the environment.
//!
//! 场景校验：原始结构 → 有效场景。

use std::time::Duration;

use st_harness::{capability::Catalogue, diag::Problem, read::Origin};

use super::{
    Gates, K8sMode, LocalMode, Mode, ModeName, RawScenario, Readiness, Role, Roles, Scenario, SimMode,
    raw::{RawK8s, RawLaunch, RawPd, RawReadiness, RawRole},
};
use crate::config::check::Check;

/// What a launch command may name.
pub(crate) const PLACEHOLDERS: [&str; 4] = ["port", "model", "served_model_name", "quant"];

impl Scenario {
    /// The scenario `name` that `raw` describes.
    ///
    /// # Errors
    /// All that does not hold together, each with its place.
    pub fn read(
        name: &str,
        raw: RawScenario,
        origin: Origin,
        catalogue: &Catalogue,
    ) -> Result<Self, Vec<Problem>> {
        let place = origin.clone();
        let mut check = Check::new(&place);
        name_is_plain(&mut check, name);
        keys_fit_the_mode(&mut check, &raw);
        let mode = mode(&mut check, &raw);
        let readiness = readiness(&mut check, raw.mode, raw.readiness.as_ref());
        let capabilities = check.claims("/capabilities", &raw.capabilities, catalogue);
        let required =
            check.claims("/gates/require_capabilities", &raw.gates.require_capabilities, catalogue);
        if let Some(i) = required.iter().position(|claim| !claim.has) {
            check.at(
                &format!("/gates/require_capabilities/{i}"),
                "a gate requires what there is, not its absence",
            );
        }
        raw.gates.perf.check(&mut check, "/gates/perf");
        let base_url = raw.base_url.as_deref().and_then(|text| check.base_url("/base_url", text));
        let metric_prefix = raw.metrics.metric_prefix.unwrap_or_default();
        if let Err(said) = metric_prefix_is_plain(&metric_prefix) {
            check.at("/metrics/metric_prefix", said);
        }
        let scenario = mode.map(|mode| Self {
            name: name.to_owned(),
            about: raw.about,
            mode,
            model: raw.model,
            served_model_name: raw.served_model_name,
            model_raw: raw.model_raw,
            quant: raw.quant,
            features: raw.features,
            capabilities,
            provider: raw.provider,
            base_url,
            readiness,
            gates: Gates {
                require_capabilities: required.into_iter().map(|claim| claim.id).collect(),
                max_skipped: raw.gates.max_skipped,
                perf: raw.gates.perf,
            },
            strict: raw.functional.strict,
            metric_prefix,
            origin,
        });
        check.done(scenario)
    }
}

/// The name labels metrics, names folders and is typed by people.
fn name_is_plain(check: &mut Check<'_>, name: &str) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(plain) {
        check.at(
            "",
            format!("the file's name `{name}` names the scenario: expected only a-z, 0-9, `_`, `-` and `.`"),
        );
    }
}

/// A prefix that every metric name may begin with; nothing is one too.
pub(crate) fn metric_prefix_is_plain(prefix: &str) -> Result<(), String> {
    let plain = prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain && !prefix.starts_with(|c: char| c.is_ascii_digit()) && !prefix.ends_with('_') {
        return Ok(());
    }
    Err(format!(
        "expected letters, digits and `_`, not beginning with a digit nor ending in `_`, found `{prefix}`; \
         the `_` between prefix and name is added"
    ))
}

/// A key of another mode is more likely a mistake about the mode than a wish.
fn keys_fit_the_mode(check: &mut Check<'_>, raw: &RawScenario) {
    let mode = raw.mode.as_str();
    for (key, present, fits, wanted) in [
        ("sim", raw.sim.is_some(), raw.mode == ModeName::Sim, "`sim`"),
        ("launch", raw.launch.is_some(), raw.mode == ModeName::Local, "`local`"),
        ("k8s", raw.k8s.is_some(), raw.mode.is_k8s(), "`k8s-hybrid` or `k8s-pd`"),
        ("pd", raw.pd.is_some(), raw.mode == ModeName::K8sPd, "`k8s-pd`"),
    ] {
        if present && !fits {
            check.key_at(
                &format!("/{key}"),
                format!("`{key}` belongs to mode {wanted}, but this scenario's mode is `{mode}`"),
                format!("take `{key}` out, or change `mode`"),
            );
        }
    }
    if raw.base_url.is_some() && matches!(raw.mode, ModeName::Sim | ModeName::Local) {
        check.key_at(
            "/base_url",
            format!("mode `{mode}` starts its own server and has no `base_url`"),
            "take `base_url` out, or use mode `attach`",
        );
    }
}

fn mode(check: &mut Check<'_>, raw: &RawScenario) -> Option<Mode> {
    match raw.mode {
        ModeName::Sim => {
            let sim = raw.sim.clone().unwrap_or_default();
            Some(Mode::Sim(SimMode {
                timing: sim.timing,
                faults: sim.faults,
                capabilities: sim.capabilities,
                max_model_len: sim.max_model_len,
                answering: sim.answering,
                seed: sim.seed,
            }))
        }
        ModeName::Attach => Some(Mode::Attach),
        ModeName::Local => needed(check, raw, "launch", raw.launch.as_ref())
            .map(|launch| Mode::Local(local(check, launch, raw))),
        ModeName::K8sHybrid => {
            let k8s = needed(check, raw, "k8s", raw.k8s.as_ref());
            k8s.map(|k8s| Mode::K8s(in_cluster(check, k8s, None)))
        }
        ModeName::K8sPd => {
            let k8s = needed(check, raw, "k8s", raw.k8s.as_ref());
            let roles = needed(check, raw, "pd", raw.pd.as_ref()).map(|pd| roles(check, pd));
            k8s.zip(roles).map(|(k8s, roles)| Mode::K8s(in_cluster(check, k8s, Some(roles))))
        }
    }
}

fn needed<'r, T>(check: &mut Check<'_>, raw: &RawScenario, key: &str, value: Option<&'r T>) -> Option<&'r T> {
    if value.is_none() {
        check.at("/mode", format!("mode `{}` needs the key `{key}`", raw.mode.as_str()));
    }
    value
}

fn local(check: &mut Check<'_>, launch: &RawLaunch, raw: &RawScenario) -> LocalMode {
    if launch.command.first().is_none_or(String::is_empty) {
        check.at("/launch/command", "expected a program and its arguments, found nothing");
    }
    let mut command = Vec::new();
    for (i, text) in launch.command.iter().enumerate() {
        let pointer = format!("/launch/command/{i}");
        placeholders(check, &pointer, text, raw);
        command.extend(check.template(&pointer, text));
    }
    let mut env = std::collections::BTreeMap::new();
    for (name, text) in &launch.env {
        let pointer = format!("/launch/env/{}", name.replace('~', "~0").replace('/', "~1"));
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("`{name}` cannot name an environment variable");
            check.key_at(&pointer, message, "a name is not empty and holds no `=`");
        }
        placeholders(check, &pointer, text, raw);
        if let Some(template) = check.template(&pointer, text) {
            env.insert(name.clone(), template);
        }
    }
    let stop_timeout = launch.stop_timeout.unwrap_or(Duration::from_secs(30));
    if launch.port == Some(0) {
        check.at(
            "/launch/port",
            "expected a port from 1, found 0; leave the key out to have a free one chosen",
        );
    }
    LocalMode { command, env, port: launch.port, stop_timeout }
}

/// Every `{word}` of `text` has to be one that can be filled in. Other braces stand for themselves, so that
/// JSON needs no escape.
fn placeholders(check: &mut Check<'_>, pointer: &str, text: &str, raw: &RawScenario) {
    for name in placeholders_of(text) {
        if check.known(pointer, "placeholder", name, &PLACEHOLDERS) {
            let given = match name {
                "model" => raw.model.is_some(),
                "served_model_name" => raw.served_model_name.is_some(),
                _ => true,
            };
            if !given {
                check.at(pointer, format!("`{{{name}}}` is used here, but the scenario has no `{name}`"));
            }
        }
    }
}

/// The words that stand in `{…}`, outside of references to the environment.
pub(crate) fn placeholders_of(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('{').filter_map(move |(at, _)| {
        let inside = &text[at + 1..];
        let word = &inside[..inside.find('}')?];
        let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        (plain && !text[..at].ends_with('$')).then_some(word)
    })
}

fn in_cluster(check: &mut Check<'_>, k8s: &RawK8s, roles: Option<Roles>) -> Box<K8sMode> {
    let mut template =
        |key: &str, text: Option<&String>| text.and_then(|text| check.template(&format!("/k8s/{key}"), text));
    let manifest = template("manifest", k8s.manifest.as_ref());
    let kubeconfig = template("kubeconfig", k8s.kubeconfig.as_ref());
    let delete_manifest = template("delete_manifest", k8s.delete_manifest.as_ref());
    for (key, text) in
        [("service_name", &k8s.service_name), ("port_name", &k8s.port_name), ("namespace", &k8s.namespace)]
    {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 63 || !text.chars().all(plain) {
            check.at(
                &format!("/k8s/{key}"),
                format!("expected a name of a-z, 0-9 and `-`, at most 63 long, found `{text}`"),
            );
        }
    }
    Box::new(K8sMode {
        manifest,
        service_name: k8s.service_name.clone(),
        port_name: k8s.port_name.clone(),
        node_port: k8s.node_port,
        node_address: k8s.node_address.clone(),
        namespace: k8s.namespace.clone(),
        kubeconfig,
        context: k8s.context.clone(),
        delete_manifest,
        roles,
    })
}

fn roles(check: &mut Check<'_>, pd: &RawPd) -> Roles {
    let mut role = |name: &str, raw: &RawRole| {
        if raw.replicas == 0 {
            check.at(&format!("/pd/{name}/replicas"), "expected at least 1, found 0");
        }
        Role { replicas: raw.replicas, params: raw.params.clone(), selector: raw.selector.clone() }
    };
    Roles {
        scheduler: role("scheduler", &pd.scheduler),
        prefill: role("prefill", &pd.prefill),
        decode: role("decode", &pd.decode),
    }
}

fn readiness(check: &mut Check<'_>, mode: ModeName, raw: Option<&RawReadiness>) -> Readiness {
    let raw = raw.cloned().unwrap_or_default();
    let path = raw.path.unwrap_or_else(|| "/health".to_owned());
    if !path.starts_with('/') {
        check.at("/readiness/path", format!("expected a path that begins with `/`, found `{path}`"));
    }
    let usual = match mode {
        ModeName::Sim | ModeName::Attach => Readiness::ATTACHED,
        ModeName::Local | ModeName::K8sHybrid | ModeName::K8sPd => Readiness::LONGEST,
    };
    let timeout = raw.timeout.unwrap_or(usual);
    if timeout > Readiness::LONGEST {
        let found = timeout.as_secs();
        check.at("/readiness/timeout", format!("expected at most 20m (1200 s), found {found} s"));
    }
    if raw.scheme.is_some() && matches!(mode, ModeName::Sim | ModeName::Attach) {
        let mode = mode.as_str();
        check.at("/readiness/scheme", format!("mode `{mode}` has no use for it: the address says it"));
    }
    let scheme = raw.scheme.unwrap_or_default();
    Readiness { path, scheme, timeout, completion: raw.completion }
}
