//! A data set of prompts of one length: [`generate`], A.1 of acs-bench's options. Must not know what is done with it.
//!
//! `dataset generate`：生成指定长度的数据集。

use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use clap::ArgAction;
use serde_json::json;

use super::values::{DatasetType, truth};
use crate::{
    perf::{
        corpus::{Entry, File, Lengths},
        prompt::{self, Asked, Content, Counted, FileCount, Stream, TokenCounter, Wanted},
        spec::{Language, Spread},
    },
    workload::sha256_hex,
};

/// Options of `dataset generate`.
#[derive(Debug, Clone, clap::Args)]
pub struct GenerateArgs {
    /// Seeded random text, or the layout of a file to choose from
    #[arg(long, value_name = "TYPE", default_value = "random")]
    pub dataset_type: DatasetType,
    /// The file to choose from; not with random
    #[arg(long, value_name = "FILE")]
    pub input_path: Option<Utf8PathBuf>,
    /// text; images are not built
    #[arg(long, value_name = "TYPE", default_value = "text")]
    pub modal_type: String,
    /// Options of images
    #[arg(long, value_name = "KEY:VALUE")]
    pub config_option: Vec<String>,
    /// The folder that the data set goes to
    #[arg(long, value_name = "DIR")]
    pub output_path: Utf8PathBuf,
    /// Tokens of each prompt
    #[arg(long, value_name = "N")]
    pub input_length: u32,
    /// So many tokens at their beginning are the same in all of them; part of the length
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub prefix_length: u32,
    /// How many prompts
    #[arg(long, value_name = "N")]
    pub num_requests: u32,
    /// Who counts: a server's address, ending in /v1, whose /tokenize is asked; a tokenizer.json or the folder with
    /// it (built with the feature tokenizers); or `estimate`
    #[arg(long, value_name = "URL|PATH")]
    pub tokenizer: String,
    /// Not used: nothing is downloaded
    #[arg(long, value_name = "BRANCH", default_value = "master")]
    pub revision: String,
    /// Share by which prompts may be longer
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub range_ratio_above: f64,
    /// Share by which prompts may be shorter
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub range_ratio_below: f64,
    /// Of everything random
    #[arg(long, alias = "seed", value_name = "N", default_value_t = 0)]
    pub random_seed: u64,
    /// Not used: no code is downloaded
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true",
          value_parser = truth, action = ArgAction::Set)]
    pub trust_remote_code: bool,

    /// The model whose tokenizer counts [default: the first one that the server lists]
    #[arg(long, value_name = "NAME", help_heading = "Not in acs-bench")]
    pub model: Option<String>,
    /// In which language random prompts are: en, zh or mixed
    #[arg(long, value_name = "LANGUAGE", default_value = "mixed", value_parser = language, help_heading = "Not in acs-bench")]
    pub language: Language,
    /// Count what the server adds to a prompt, the chat template, as part of its length
    #[arg(long, help_heading = "Not in acs-bench")]
    pub count_template: bool,
}

/// Who counts, as `--tokenizer` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts<'a> {
    /// The server at this address.
    Server(&'a str),
    /// This file, or the one in this folder.
    File(&'a Utf8Path),
    /// Lengths are estimated.
    Nobody,
}

fn language(text: &str) -> Result<Language, String> {
    serde_json::from_value(json!(text)).map_err(|_| "expected `en`, `zh` or `mixed`".to_owned())
}

/// A data set that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Name of its file.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// How long its prompts are; nothing where nobody counts.
    pub lengths: Option<Lengths>,
    /// How sure that is.
    pub counted: Counted,
}

impl Generated {
    /// SHA-256 of the file, hex.
    pub fn sha256(&self) -> String {
        sha256_hex(self.text.as_bytes())
    }

    /// How long its prompts are, for a person.
    pub fn told(&self) -> String {
        let sure = match &self.counted {
            Counted::Exact | Counted::Recorded => "counted, every one as asked".to_owned(),
            Counted::Near { prompts, short_by } => {
                format!("counted; {prompts} of them are up to {short_by} tokens shorter than asked")
            }
            Counted::Estimated { reason } => format!("estimated: {reason}"),
        };
        match self.lengths {
            Some(Lengths { n, min, p50, mean, max }) => {
                format!("{n} prompts, {sure}: {min} to {max} tokens, median {p50}, mean {mean:.1}")
            }
            None => format!("{} prompts, lengths {sure}", self.text.lines().count()),
        }
    }
}

impl GenerateArgs {
    /// What is wrong with the options, a sentence each.
    pub fn mistakes(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut refuse = |refused: bool, message: &str| {
            if refused {
                wrong.push(message.to_owned());
            }
        };
        let random = self.dataset_type == DatasetType::Random;
        refuse(self.modal_type != "text", "--modal-type: expected `text`; images are not built");
        refuse(!self.config_option.is_empty(), "--config-option: it is for images, which are not built");
        refuse(self.input_length == 0, "--input-length: expected at least 1, found 0");
        refuse(self.num_requests == 0, "--num-requests: expected at least 1, found 0");
        refuse(
            !(0.0..=1.0).contains(&self.range_ratio_above) || !(0.0..=1.0).contains(&self.range_ratio_below),
            "--range-ratio-above and --range-ratio-below: expected shares from 0 to 1",
        );
        refuse(
            random && self.input_path.is_some(),
            "--input-path: --dataset-type random chooses from no file",
        );
        refuse(!random && self.input_path.is_none(), "--input-path: expected the file to choose from");
        refuse(
            !random && self.prefix_length > 0,
            "--prefix-length: only random prompts can have a common prefix",
        );
        refuse(
            self.prefix_length >= self.spread().bounds(self.input_length).0,
            "--prefix-length: expected less than the shortest prompt, of which it is a part",
        );
        if let Counts::File(path) = self.counts() {
            refuse(
                self.count_template,
                "--count-template: only a server has a chat template; a tokenizer's file counts the text alone",
            );
            let unreadable = FileCount::read(path).err();
            wrong.extend(unreadable.map(|why| {
                format!("--tokenizer: expected a server's address, a tokenizer's file or `estimate`: {why}")
            }));
        }
        wrong
    }

    /// Who is to count.
    pub fn counts(&self) -> Counts<'_> {
        match self.tokenizer.as_str() {
            "estimate" => Counts::Nobody,
            url if url.starts_with("http://") || url.starts_with("https://") => Counts::Server(url),
            path => Counts::File(Utf8Path::new(path)),
        }
    }

    fn spread(&self) -> Spread {
        Spread { above: self.range_ratio_above, below: self.range_ratio_below }
    }
}

/// Makes the data set that the options mean; `counter` says how long prompts are.
///
/// # Errors
/// In words: a length that cannot be reached, a file that cannot be read or has too few prompts of that length.
pub async fn generate(args: &GenerateArgs, counter: &impl TokenCounter) -> Result<Generated, String> {
    let (entries, counted) = match args.input_path.as_deref() {
        None => random(args, counter).await?,
        Some(path) => {
            let file = File::read(path, args.dataset_type.layout())?;
            (chosen(args, file, counter).await?, Counted::Exact)
        }
    };
    let mut text = String::new();
    for entry in &entries {
        let _ = writeln!(text, "{}", line(entry));
    }
    Ok(Generated {
        name: format!("{}_input{}.jsonl", args.dataset_type.layout().name(), args.input_length),
        lengths: Lengths::of(entries.iter().map(|entry| entry.input_tokens)),
        text,
        counted,
    })
}

/// An item in the layout `custom`.
fn line(entry: &Entry) -> serde_json::Value {
    let mut line = match &entry.content {
        Some(Content::Text(text)) => json!({"prompt": text}),
        Some(Content::Messages(messages)) => json!({"messages": messages}),
        None => json!({}),
    };
    if let Some(tokens) = entry.input_tokens {
        line["input_tokens"] = json!(tokens);
    }
    if let Some(tokens) = entry.output_len {
        line["output_len"] = json!(tokens);
    }
    line
}

async fn random(args: &GenerateArgs, counter: &impl TokenCounter) -> Result<(Vec<Entry>, Counted), String> {
    let wanted = Wanted {
        prefix: args.prefix_length,
        language: args.language,
        seed: args.random_seed,
        // Data sets of different lengths have no beginning in common, which a prefix cache would know.
        mark: args.input_length.into(),
    };
    let asked = Stream::all(0, args.num_requests)
        .map(|stream| Asked::drawn(stream, args.input_length, args.spread(), args.random_seed));
    let made = prompt::prepare(wanted, asked.collect(), counter).await?;
    let entry = |fitted: prompt::Fitted| Entry {
        content: Some(Content::Text(fitted.text)),
        ..Entry::of_length(fitted.tokens)
    };
    Ok((made.texts.into_iter().map(entry).collect(), made.counted))
}

/// The first items of the file that have the wanted length.
async fn chosen(args: &GenerateArgs, file: File, counter: &impl TokenCounter) -> Result<Vec<Entry>, String> {
    let (low, high) = args.spread().bounds(args.input_length);
    let (all, mut shortest, mut longest) = (file.entries.len(), u64::MAX, 0);
    let mut chosen = Vec::new();
    for entry in file.entries {
        if chosen.len() == args.num_requests as usize {
            break;
        }
        let Some(content) = &entry.content else { continue };
        let tokens = counter.count(content).await?;
        (shortest, longest) = (shortest.min(tokens), longest.max(tokens));
        if (u64::from(low)..=u64::from(high)).contains(&tokens) {
            chosen.push(Entry { input_tokens: Some(tokens), ..entry });
        }
    }
    if chosen.len() < args.num_requests as usize {
        return Err(format!(
            "expected {} prompts of {low} to {high} tokens, found {} among {all}, which have from {shortest} to \
             {longest}; ask for fewer, or widen --range-ratio-above and --range-ratio-below",
            args.num_requests,
            chosen.len()
        ));
    }
    Ok(chosen)
}
