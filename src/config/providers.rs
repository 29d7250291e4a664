//! Endpoints by name, in the form that acs-bench reads: [`Providers`]. Must not ask them anything.
//!
//! 服务提供方列表，兼容 acs-bench 的格式。

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use st_harness::{diag::Problem, read::Origin};

use super::{check::Check, environment::Environment, reference::Template};

/// configs/providers.yaml. `api_key` and `base_url` may refer to the environment: `${NAME}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawProviders {
    /// One entry an endpoint.
    pub providers: Vec<RawProvider>,
}

/// One endpoint.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawProvider {
    /// What scenarios and `--provider-id` call it.
    pub id: String,
    /// How it is called in reports. Default: its id.
    pub name: Option<String>,
    /// Its key: a reference such as `${MY_KEY}`; `EMPTY` for none.
    #[serde(default)]
    pub api_key: String,
    /// Its address, with its /v1.
    pub base_url: String,
    /// The model's name in requests.
    pub model_name: String,
    /// The model's family, for the record.
    pub model_category: Option<String>,
}

impl std::fmt::Debug for RawProvider {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawProvider").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The endpoints that are known, in the file's order.
#[derive(Debug, Clone, Default)]
pub struct Providers(Vec<Provider>);

/// One endpoint.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its name in scenarios.
    pub id: String,
    /// Its name in reports.
    pub name: String,
    /// Its address; may still refer to the environment.
    pub base_url: Template,
    /// The model's name in requests.
    pub model_name: String,
    /// The model's family.
    pub model_category: Option<String>,
    key: Key,
    /// Where it was written: a pointer into the file, and the file.
    pointer: String,
    origin: Origin,
}

#[derive(Debug, Clone)]
enum Key {
    None,
    Written(SecretString),
    Variable(Template),
}

impl Providers {
    /// What `raw` says.
    ///
    /// # Errors
    /// All that does not hold together, each with its place.
    pub fn read(raw: RawProviders, origin: Origin) -> Result<Self, Vec<Problem>> {
        let mut check = Check::new(&origin);
        let mut all: Vec<Provider> = Vec::new();
        for (i, raw) in raw.providers.into_iter().enumerate() {
            let pointer = format!("/providers/{i}");
            if raw.id.is_empty() {
                check.at(&format!("{pointer}/id"), "expected a name, found nothing");
            }
            if let Some(first) = all.iter().find(|other| other.id == raw.id) {
                let line = origin.place(&format!("{}/id", first.pointer)).map(|place| place.line);
                let line = line.map(|line| format!(" in line {line}")).unwrap_or_default();
                check.at(&format!("{pointer}/id"), format!("provider `{}` is there already{line}", raw.id));
            }
            let base_url = check.base_url(&format!("{pointer}/base_url"), &raw.base_url);
            let key = check.take(&format!("{pointer}/api_key"), Key::parse(&raw.api_key));
            if let Some((base_url, key)) = base_url.zip(key) {
                all.push(Provider {
                    name: raw.name.unwrap_or_else(|| raw.id.clone()),
                    id: raw.id,
                    base_url,
                    model_name: raw.model_name,
                    model_category: raw.model_category,
                    key,
                    pointer,
                    origin: origin.clone(),
                });
            }
        }
        check.done(Some(Self(all)))
    }

    /// The provider `id`, where there is one.
    pub fn get(&self, id: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.id == id)
    }

    /// Their ids, in the file's order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|provider| provider.id.as_str())
    }

    /// Keys that stand in the file itself, whether or not their provider is used.
    pub(super) fn written_keys(&self) -> impl Iterator<Item = &SecretString> {
        self.0.iter().filter_map(|provider| match &provider.key {
            Key::Written(key) => Some(key),
            Key::None | Key::Variable(_) => None,
        })
    }
}

impl Provider {
    /// The key, where there is one.
    ///
    /// # Errors
    /// Names the variable that it refers to, where that is not set.
    pub fn api_key(&self, environment: &Environment) -> Result<Option<SecretString>, String> {
        match &self.key {
            Key::None => Ok(None),
            Key::Written(key) => Ok(Some(key.clone())),
            Key::Variable(template) => {
                let key = template.fill(environment)?;
                Ok((!matches!(key.as_str(), "" | "EMPTY")).then(|| key.into()))
            }
        }
    }

    /// A problem with the value of `key`.
    pub(super) fn problem(&self, key: &str, message: String) -> Problem {
        self.origin.problem(&format!("{}/{key}", self.pointer), message)
    }
}

impl Key {
    /// `EMPTY` is the convention of servers that want a key but look at none.
    fn parse(text: &str) -> Result<Self, String> {
        if matches!(text, "" | "EMPTY") {
            return Ok(Self::None);
        }
        // The text may be a key: an error must not repeat it.
        let template = Template::parse(text).map_err(|_| {
            "expected a key, `EMPTY` or a reference such as `${MY_KEY}`, found a reference that is not complete"
                .to_owned()
        })?;
        Ok(match template.is_literal() {
            true => Self::Written(text.to_owned().into()),
            false => Self::Variable(template),
        })
    }
}
