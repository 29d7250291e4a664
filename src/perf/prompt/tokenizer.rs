//! The count of a tokenizer's file, `tokenizer.json`, where the server does not count: [`FileCount`]. It knows the text of
//! a prompt and not what a chat template adds. Must not know when it is asked instead of the server.
//!
//! 由 tokenizer.json 计数（需要特性 `tokenizers`）。

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::{Content, CountedBy, TokenCounter};

/// The file in a model's folder.
const NAME: &str = "tokenizer.json";

/// Which file counted, and what of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CountingFile {
    /// Its path.
    pub file: Utf8PathBuf,
    /// SHA-256 of it, hex.
    pub sha256: String,
    /// Whether the special tokens are counted that it puts round a text; never the template of a chat.
    pub special_tokens: bool,
}

/// A tokenizer that was read.
pub struct FileCount {
    of: CountingFile,
    #[cfg(feature = "tokenizers")]
    tokenizer: tokenizers::Tokenizer,
}

impl std::fmt::Debug for FileCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileCount({})", self.of.file)
    }
}

impl FileCount {
    /// Reads the file, or the one in a model's folder.
    ///
    /// # Errors
    /// In words: no such file, no tokenizer in it, a build without the feature.
    #[cfg(feature = "tokenizers")]
    pub fn read(path: &Utf8Path) -> Result<Self, String> {
        let path = if path.is_dir() { path.join(NAME) } else { path.to_owned() };
        let bytes = std::fs::read(&path)
            .map_err(|error| format!("expected a tokenizer's file (`{NAME}`), found `{path}`: {error}"))?;
        let tokenizer = tokenizers::Tokenizer::from_bytes(&bytes)
            .map_err(|error| format!("`{path}` is no tokenizer ({NAME} of Hugging Face): {error}"))?;
        let sha256 = crate::workload::sha256_hex(&bytes);
        Ok(Self { of: CountingFile { file: path, sha256, special_tokens: false }, tokenizer })
    }

    /// Refuses: this build cannot count by a file.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "tokenizers"))]
    pub fn read(path: &Utf8Path) -> Result<Self, String> {
        Err(format!(
            "to count by a tokenizer's file (`{path}`, `{NAME}`) this program has to be built with the feature \
             `tokenizers`: `cargo … --features tokenizers`"
        ))
    }

    /// The same file, counting the special tokens that it puts round a text, or not.
    pub fn counting(&self, special_tokens: bool) -> FileCounter<'_> {
        FileCounter { file: self, special_tokens }
    }
}

/// Counts by a file.
#[derive(Debug, Clone, Copy)]
pub struct FileCounter<'a> {
    file: &'a FileCount,
    special_tokens: bool,
}

impl TokenCounter for FileCounter<'_> {
    #[cfg(feature = "tokenizers")]
    async fn count(&self, content: &Content) -> Result<u64, String> {
        let counted = self.file.tokenizer.encode_fast(content.text(), self.special_tokens);
        let of = &self.file.of.file;
        counted
            .map(|encoding| encoding.len() as u64)
            .map_err(|error| format!("`{of}` cannot count a prompt: {error}"))
    }

    #[cfg(not(feature = "tokenizers"))]
    async fn count(&self, _: &Content) -> Result<u64, String> {
        Err("this build has no tokenizer".to_owned())
    }

    fn by(&self) -> CountedBy {
        CountedBy::File(CountingFile { special_tokens: self.special_tokens, ..self.file.of.clone() })
    }
}

#[cfg(all(test, not(feature = "tokenizers")))]
mod without {
    use super::*;

    #[test]
    fn a_build_without_the_feature_names_it() {
        let error = FileCount::read(Utf8Path::new("tokenizer.json")).unwrap_err();
        assert!(error.contains("the feature `tokenizers`"), "{error}");
    }
}

#[cfg(all(test, feature = "tokenizers"))]
mod tests {
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        client::{Target, testing},
        perf::{
            prompt::{Counter, ServerCount},
            spec::Endpoint,
        },
    };

    /// A tokenizer of our own: words, with a token at the head that it adds itself.
    fn of_words(folder: &Utf8Path) -> Utf8PathBuf {
        let words = ["[UNK]", "[BOS]", "one", "two", "a"];
        let vocabulary: serde_json::Map<_, _> =
            words.iter().zip(0..).map(|(word, id)| ((*word).to_owned(), json!(id))).collect();
        let special = json!({"id": 1, "content": "[BOS]", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true});
        let head = json!({"SpecialToken": {"id": "[BOS]", "type_id": 0}});
        let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
        let written = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [special], "normalizer": null,
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {"type": "TemplateProcessing", "single": [head, text("A", 0)],
                "pair": [text("A", 0), text("B", 1)],
                "special_tokens": {"[BOS]": {"id": "[BOS]", "ids": [1], "tokens": ["[BOS]"]}}},
            "decoder": null,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
        });
        let path = folder.join(NAME);
        std::fs::write(&path, written.to_string()).unwrap();
        path
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    #[tokio::test]
    async fn a_file_counts_the_text_and_what_it_puts_round_it_where_asked() {
        let (_kept, folder) = folder();
        let file = FileCount::read(&of_words(&folder)).unwrap();
        let text = Content::Text("one two, unknown".to_owned());
        assert_eq!(file.counting(false).count(&text).await, Ok(4));
        assert_eq!(file.counting(true).count(&text).await, Ok(5));
        let messages =
            Content::Messages(vec![json!({"role": "user", "content": "one"}), json!({"content": "two"})]);
        assert_eq!(file.counting(false).count(&messages).await, Ok(2), "no template is known here");
        let CountedBy::File(told) = file.counting(true).by() else { panic!("a file counted") };
        assert_eq!((told.file, told.sha256.len(), told.special_tokens), (folder.join(NAME), 64, true));
    }

    #[tokio::test]
    async fn random_prompts_are_brought_to_a_length_by_a_file() {
        use crate::perf::{
            prompt::{Asked, Counted, Stream, Wanted, prepare},
            spec::{Language, Spread},
        };
        let (_kept, folder) = folder();
        let file = FileCount::read(&of_words(&folder)).unwrap();
        let wanted = Wanted { prefix: 3, language: Language::Mixed, seed: 1, mark: 0 };
        let asked = Stream::all(0, 10).map(|stream| Asked::drawn(stream, 40, Spread::default(), 1)).collect();
        let made = prepare(wanted, asked, &file.counting(false)).await.unwrap();
        assert_eq!(made.counted, Counted::Exact);
        for text in made.texts {
            assert_eq!(text.tokens, Some(40));
            assert_eq!(file.counting(false).count(&Content::Text(text.text)).await, Ok(40));
        }
    }

    /// Who counts, with this answer of the server's.
    async fn chosen(status: &str, body: &str, endpoint: Endpoint, asked: bool) -> Result<String, String> {
        let (_kept, folder) = folder();
        let file = FileCount::read(&of_words(&folder)).unwrap();
        let server = testing::Server::answering(&testing::answer(status, "", body)).await;
        let target = Target::at(&server.base_url, "m").unwrap();
        let cancel = CancellationToken::new();
        let server = ServerCount { target: &target, endpoint, template: true, cancel: &cancel };
        let counter = Counter::of(server, Some(&file), asked).await?;
        Ok(match counter.by() {
            CountedBy::Server => "server".to_owned(),
            CountedBy::File(file) => format!("file, special tokens: {}", file.special_tokens),
            CountedBy::Nobody => "nobody".to_owned(),
        })
    }

    #[tokio::test]
    async fn the_server_comes_first_and_no_file_stands_in_for_its_template() {
        let (gone, chat) = ("404 Not Found", Endpoint::Chat);
        assert_eq!(chosen("200 OK", r#"{"count": 3}"#, chat, true).await.unwrap(), "server");
        assert_eq!(chosen(gone, "", chat, false).await.unwrap(), "file, special tokens: false");
        assert_eq!(
            chosen(gone, "", Endpoint::Completions, true).await.unwrap(),
            "file, special tokens: true"
        );
        let refused = chosen(gone, "", chat, true).await.unwrap_err();
        assert!(refused.contains("POST /tokenize answered 404"), "{refused}");
        assert!(refused.contains("count_template: false"), "{refused}");
    }

    #[test]
    fn a_folder_is_meant_as_the_file_in_it_and_what_is_no_tokenizer_is_refused() {
        let (_kept, folder) = folder();
        assert!(FileCount::read(&folder).unwrap_err().contains("tokenizer.json"));
        of_words(&folder);
        assert!(FileCount::read(&folder).is_ok());
        std::fs::write(folder.join("x.json"), "{}").unwrap();
        let error = FileCount::read(&folder.join("x.json")).unwrap_err();
        assert!(error.contains("x.json` is no tokenizer"), "{error}");
    }
}
