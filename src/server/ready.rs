//! Waits until a server can be tested: healthy, serving the model, if asked for able to answer; [`until_ready`].
//! Must not know how the server came to be.
//!
//! 就绪等待：健康检查、模型确认、可选的单 token 生成。

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use st_harness::{
    suggest,
    verdict::{Note, Reason},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, End, Limits, Request, Retry, Route},
    config::Readiness,
};

/// One question may take this long; the wait as a whole has its own limit.
const ONE_QUESTION: Duration = Duration::from_secs(5);
/// A first token may take long: the server may still compile its kernels.
const ONE_COMPLETION: Duration = Duration::from_secs(120);
/// An unchanged reason for waiting is repeated this often.
const REPEAT: Duration = Duration::from_secs(10);

/// What is waited for.
pub(super) struct Wait<'a> {
    pub(super) client: &'a Client,
    pub(super) readiness: &'a Readiness,
    /// The model that has to be there; nothing: the only one.
    pub(super) model: Option<&'a str>,
    pub(super) progress: &'a (dyn Fn(&str) + Send + Sync),
    pub(super) cancel: &'a CancellationToken,
    /// What to do where nothing answers at all.
    pub(super) advice: &'a str,
}

/// What a server that is ready says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The model's name in requests.
    pub(super) model: String,
    /// Every model that it lists.
    pub(super) listed: Vec<String>,
    /// The model's longest context, in tokens.
    pub(super) max_model_len: Option<u64>,
    /// The server's version.
    pub(super) version: Option<String>,
    /// The weights that it names: a folder or a name on a hub.
    pub(super) root: Option<String>,
    /// Who owns the model, in the server's words: most engines give their name.
    pub(super) owned_by: Option<String>,
    /// How long it took.
    pub(super) waited: Duration,
    pub(super) notes: Vec<Note>,
}

impl Found {
    /// What the model's entry says of how it is served.
    pub(super) fn entry(&self) -> BTreeMap<String, String> {
        let length = self.max_model_len.map(|length| ("max_model_len".to_owned(), length.to_string()));
        let root = self.root.clone().map(|root| ("root".to_owned(), root));
        length.into_iter().chain(root).collect()
    }

    /// For the record.
    pub(super) fn effective(&self) -> Value {
        json!({
            "engine": self.owned_by.as_ref().map(|name| name.to_lowercase()),
            "engine_version": self.version,
            "model": self.model,
            "root": self.root,
            "max_model_len": self.max_model_len,
            "models": self.listed,
            "ready_after_s": self.waited.as_secs_f64(),
        })
    }
}

/// Waits at most as long as `wait.readiness` allows.
///
/// # Errors
/// Says what was tried, how it ended, and what to do.
pub(super) async fn until_ready(wait: &Wait<'_>) -> Result<Found, Reason> {
    let mut patience = Patience::new(wait);
    patience.until(&wait.readiness.path.clone(), |wait| healthy(wait)).await?;
    let models = patience.until("/v1/models", |wait| models(wait)).await?;
    let mut notes = Vec::new();
    let owned_by = models.iter().flatten().find_map(|model| model.owned_by.clone());
    let (model, chosen, listed) = choose(wait, models, &mut notes)?;
    let (max_model_len, root) = chosen.map_or((None, None), |one| (one.max_model_len, one.root));
    if wait.readiness.completion {
        patience.until("/v1/completions", |wait| completion(wait, model.clone())).await?;
    }
    let version = version(wait).await;
    Ok(Found {
        model,
        listed,
        max_model_len,
        version,
        root,
        owned_by,
        waited: patience.begun.elapsed(),
        notes,
    })
}

/// How one question went.
enum Step<T> {
    /// It is so.
    Done(T),
    /// Not yet: why, in a few words.
    NotYet(String),
    /// It never will be.
    Never(Reason),
}

/// Asks again and again, ever more slowly, until it is so or the time is over.
struct Patience<'w, 'a> {
    wait: &'w Wait<'a>,
    begun: Instant,
    told: Option<(String, Instant)>,
}

impl<'w, 'a> Patience<'w, 'a> {
    fn new(wait: &'w Wait<'a>) -> Self {
        Self { wait, begun: Instant::now(), told: None }
    }

    async fn until<T, F: Future<Output = Step<T>>>(
        &mut self,
        path: &str,
        ask: impl Fn(&'w Wait<'a>) -> F,
    ) -> Result<T, Reason> {
        let address = match path.strip_prefix("/v1") {
            Some(below) => format!("{}{below}", self.wait.client.base_url()),
            None => format!("{}{path}", self.wait.client.root_url()),
        };
        let mut pause = Duration::from_millis(100);
        let mut asked = 0_u32;
        loop {
            asked += 1;
            // The first question gets a moment in any case: the one before it may have used up the time.
            let answer =
                tokio::time::timeout(self.left().max(Duration::from_millis(250)), ask(self.wait)).await;
            let why = match answer {
                Ok(Step::Done(value)) => return Ok(value),
                Ok(Step::Never(reason)) => return Err(reason),
                Ok(Step::NotYet(why)) => why,
                Err(_) => "it takes the question, but does not answer".to_owned(),
            };
            let left = self.left();
            if self.wait.cancel.is_cancelled() {
                return Err(Reason::new("cancelled", format!("stopped while waiting for {address}: {why}")));
            }
            if left.is_zero() {
                return Err(self.never(&address, &why, asked));
            }
            self.tell(&address, &why);
            tokio::select! {
                () = self.wait.cancel.cancelled() => {}
                () = tokio::time::sleep(pause.min(left)) => {}
            }
            pause = (pause * 3 / 2).min(Duration::from_secs(15));
        }
    }

    fn left(&self) -> Duration {
        self.wait.readiness.timeout.saturating_sub(self.begun.elapsed())
    }

    /// One line whenever the reason changes, and every now and then while it does not.
    fn tell(&mut self, address: &str, why: &str) {
        let now = Instant::now();
        let said = matches!(&self.told, Some((last, at)) if last == why && now - *at < REPEAT);
        if !said {
            let (so_far, limit) = (self.begun.elapsed().as_secs(), self.wait.readiness.timeout.as_secs());
            (self.wait.progress)(&format!("waiting for {address}: {why} ({so_far} s of {limit} s)"));
            self.told = Some((why.to_owned(), now));
        }
    }

    fn never(&self, address: &str, why: &str, asked: u32) -> Reason {
        let limit = show(self.wait.readiness.timeout);
        let times = if asked == 1 { "once".to_owned() } else { format!("{asked} times") };
        Reason::new("not-ready", format!("{address} did not become ready within {limit}: {why}"))
            .with_detail(format!("It was asked {times}.\n{}", self.wait.advice))
    }
}

/// `10 s`, `20 min`, `300 ms`.
fn show(time: Duration) -> String {
    match time.as_millis() {
        ms if ms < 1000 => format!("{ms} ms"),
        ms if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms => format!("{} s", ms / 1000),
    }
}

/// An answer, or why there is none.
async fn ask(wait: &Wait<'_>, request: Request, total: Duration) -> Result<(u16, Vec<u8>), String> {
    let limits = Limits { connect: total.min(ONE_QUESTION), first_byte: None, idle: None, total };
    let exchange = wait.client.exchange(&request, &limits, &Retry::none(), wait.cancel).await;
    let attempt = exchange.last();
    match (&attempt.end, attempt.status) {
        (End::Complete, Some(status)) => Ok((status, attempt.body())),
        (End::Complete, None) => Err("an answer without a status".to_owned()),
        (End::Broken(fault), _) => Err(fault.to_string()),
    }
}

/// What a status other than 200 means for the wait.
fn refused<T>(wait: &Wait<'_>, what: &str, status: u16, body: &[u8]) -> Step<T> {
    match status {
        401 | 403 => Step::Never(
            Reason::new(
                "unauthorized",
                format!("{what} answers {status}: the server wants another key, or any"),
            )
            .with_detail(format!(
                "Asked {} below {}.\nSet VLLM_CIBENCH_API_KEY to the server's key.",
                what,
                wait.client.base_url()
            )),
        ),
        _ => Step::NotYet(format!("it answers {status}{}", excerpt(body))),
    }
}

/// The beginning of a body, in one line.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(120) {
        _ if line.is_empty() => String::new(),
        Some((end, _)) => format!(" ({}…)", &line[..end]),
        None => format!(" ({line})"),
    }
}

async fn healthy(wait: &Wait<'_>) -> Step<()> {
    let path = wait.readiness.path.clone();
    match ask(wait, Request::get(route(&path)), ONE_QUESTION).await {
        Err(why) => Step::NotYet(why),
        Ok((200, _)) => Step::Done(()),
        Ok((404, _)) => Step::NotYet("it answers 404 (another path is given by `readiness.path`)".to_owned()),
        Ok((status, body)) => refused(wait, &path, status, &body),
    }
}

/// `/v1/models` lies below the base URL, `/health` below its parent.
fn route(path: &str) -> Route {
    match path.strip_prefix("/v1/") {
        Some(below) => Route::Api(format!("/{below}")),
        None => Route::Root(path.to_owned()),
    }
}

#[derive(Clone)]
struct Listed {
    id: String,
    max_model_len: Option<u64>,
    owned_by: Option<String>,
    root: Option<String>,
}

/// The models that the server lists; nothing where it has no such list.
async fn models(wait: &Wait<'_>) -> Step<Option<Vec<Listed>>> {
    match ask(wait, Request::get(Route::Api("/models".to_owned())), ONE_QUESTION).await {
        Err(why) => Step::NotYet(why),
        Ok((200, body)) => match list(&body) {
            Some(models) if models.is_empty() => Step::NotYet("it lists no model yet".to_owned()),
            Some(models) => Step::Done(Some(models)),
            None => Step::NotYet(format!("its list of models cannot be read{}", excerpt(&body))),
        },
        Ok((404, _)) if wait.model.is_some() => Step::Done(None),
        Ok((status, body)) => refused(wait, "/v1/models", status, &body),
    }
}

fn list(body: &[u8]) -> Option<Vec<Listed>> {
    let list: Value = serde_json::from_slice(body).ok()?;
    let each = list.get("data")?.as_array()?.iter();
    each.map(|model| {
        let id = model.get("id")?.as_str()?.to_owned();
        let text = |key: &str| model.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Listed {
            id,
            max_model_len: model.get("max_model_len").and_then(Value::as_u64),
            owned_by: text("owned_by"),
            root: text("root"),
        })
    })
    .collect()
}

type Chosen = (String, Option<Listed>, Vec<String>);

/// The model to test.
fn choose(wait: &Wait<'_>, models: Option<Vec<Listed>>, notes: &mut Vec<Note>) -> Result<Chosen, Reason> {
    let Some(models) = models else {
        let model = wait.model.unwrap_or_default().to_owned();
        let text = format!("the server has no /v1/models: nothing confirms that it serves `{model}`");
        notes.push(Note { kind: "no-model-list".to_owned(), text });
        return Ok((model, None, Vec::new()));
    };
    let names: Vec<String> = models.iter().map(|model| model.id.clone()).collect();
    let all = names.join(", ");
    let found = match wait.model {
        Some(wanted) => models.iter().find(|model| model.id == wanted).ok_or_else(|| {
            let near = suggest::near(wanted, names.iter().map(String::as_str));
            let hint = near.first().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Reason::new("wrong-model", format!("the server does not serve the model `{wanted}`{hint}"))
                .with_detail(format!("It lists: {all}.\nSet VLLM_CIBENCH_MODEL to one of them."))
        })?,
        None => match models.as_slice() {
            [only] => only,
            _ => {
                let summary = format!("the server lists {} models; say which one to test", models.len());
                return Err(Reason::new("which-model", summary)
                    .with_detail(format!("It lists: {all}.\nSet VLLM_CIBENCH_MODEL to one of them.")));
            }
        },
    };
    Ok((found.id.clone(), Some(found.clone()), names))
}

/// One token, by the endpoint that every model has; by chat where there is no other.
async fn completion(wait: &Wait<'_>, model: String) -> Step<()> {
    let plain = json!({"model": model, "prompt": "Hi", "max_tokens": 1});
    let chat = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1});
    let total = ONE_COMPLETION.min(wait.readiness.timeout);
    let request = |path: &str, body: &Value| Request::post_json(Route::Api(path.to_owned()), body);
    let answer = match ask(wait, request("/completions", &plain), total).await {
        Ok((404 | 405, _)) => ask(wait, request("/chat/completions", &chat), total).await,
        answer => answer,
    };
    match answer {
        Err(why) => Step::NotYet(why),
        Ok((200, _)) => Step::Done(()),
        Ok((status @ (400 | 404 | 405 | 422), body)) => Step::Never(
            Reason::new(
                "not-ready",
                format!("the server refuses to write one token: {status}{}", excerpt(&body)),
            )
            .with_detail("Where that is right, set `readiness.completion: false` in the scenario."),
        ),
        Ok((status, body)) => refused(wait, "/v1/completions", status, &body),
    }
}

/// Best effort: not every server tells.
async fn version(wait: &Wait<'_>) -> Option<String> {
    let request = Request::get(Route::Root("/version".to_owned()));
    let (status, body) = ask(wait, request, ONE_QUESTION).await.ok()?;
    let answer: Value = (status == 200).then(|| serde_json::from_slice(&body).ok())??;
    answer.get("version")?.as_str().map(str::to_owned)
}
