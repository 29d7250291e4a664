//! MGSM: school mathematics in eleven languages; the answer is the last number behind the last marker. The
//! instructions are openai/simple-evals' (MIT License, Copyright (c) 2024 OpenAI). Must not know how a question is
//! sent.
//!
//! MGSM：十一种语言的小学数学题，按语言与文字体系统计。

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Choose, Exam, Question, Scored, robust};
use crate::accuracy::{
    data::{Layout, Supply, Table, Unready},
    python::text::strip,
};

/// Which way of extracting and scoring this is.
pub const EXTRACTOR: &str = "simple_evals_mgsm/1";

const INSTRUCTION: &str = "Put mgsm_en.tsv and its sisters (two columns, question and number, no header) into the \
                           folder that VLLM_CIBENCH_ACCURACY_DATA names, or name a folder with `data:` in the case; \
                           `subsets:` asks fewer languages";

const LAYOUT: Layout<'_> = Layout { needed: &["question", "target"], optional: &[], headless: true };

/// The language and the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its code.
    pub language: String,
    /// As it stands in the file.
    pub target: String,
}

struct Language {
    code: &'static str,
    latin: bool,
    /// What stands before the answer, without its colon.
    prefix: &'static str,
    instruction: &'static str,
}

/// The questions, language by language; the subsets are languages, all eleven where there is none.
pub(super) fn exam(supply: &Supply, choose: &Choose) -> Result<Exam, Unready> {
    let asked = LANGUAGES.iter().filter(|language| {
        choose.subsets.is_empty() || choose.subsets.iter().any(|code| code == language.code)
    });
    let mut exam = Exam { questions: Vec::new(), files: Vec::new(), warnings: Vec::new() };
    let mut problems = Vec::new();
    for language in asked {
        let place = supply.find(&format!("mgsm_{}", language.code), INSTRUCTION)?;
        let questions = Table::load(&place, LAYOUT).and_then(|table| {
            exam.files.push(table.file.clone());
            table.each(|index, record| {
                language.question(index, record.cell("question"), record.cell("target"))
            })
        });
        match questions {
            Ok(questions) => {
                exam.questions
                    .extend(questions.into_iter().take(choose.limit.map_or(usize::MAX, |n| n as usize)));
            }
            Err(told) => problems.extend(told),
        }
    }
    if problems.is_empty() { Ok(exam) } else { Err(Unready::Bad(problems)) }
}

/// The codes of all languages, in upstream's order.
pub fn languages() -> impl Iterator<Item = &'static str> {
    LANGUAGES.iter().map(|language| language.code)
}

impl Language {
    fn question(&self, index: usize, question: &str, target: &str) -> Result<Question, String> {
        let plain = target.replace(',', "");
        let digits = plain.strip_prefix('-').unwrap_or(&plain);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("expected a whole number in the second column, found {target:?}"));
        }
        if question.trim().is_empty() {
            return Err("expected a question in the first column, found none".to_owned());
        }
        let group = if self.latin { "group_latin" } else { "group_non_latin" };
        Ok(Question {
            id: format!("{}_{index}", self.code),
            repeat: 0,
            // The languages translate one set of problems: their answers are not independent.
            stem: format!("problem_{index}"),
            sections: vec![self.code.to_owned(), group.to_owned()],
            prompt: format!("{}\n\n{question}", self.instruction),
            picture: None,
            key: super::Key::Mgsm(Key { language: self.code.to_owned(), target: target.to_owned() }),
        })
    }
}

impl Key {
    /// Marks `answer` by its number.
    pub fn mark(&self, answer: &str) -> Scored {
        let prefix =
            LANGUAGES.iter().find(|one| one.code == self.language).map_or("Answer", |one| one.prefix);
        let extracted = number(answer, prefix);
        let score = f64::from(u8::from(is_right(&extracted, &self.target)));
        Scored {
            extracted: (!extracted.is_empty()).then_some(extracted),
            score,
            metrics: BTreeMap::from([("score".to_owned(), score)]),
            robust: robust::number(answer, prefix, &self.target),
            note: None,
        }
    }
}

/// The last number behind the last `prefix`; empty where there is none. The sign is lost, as upstream.
fn number(text: &str, prefix: &str) -> String {
    static NUMBER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\d+\.?\d*").expect("a constant pattern, compiled by the tests"));
    let Some((_, behind)) = text.rsplit_once(prefix) else { return String::new() };
    let behind = strip(behind).replace(',', "");
    NUMBER.find_iter(&behind).last().map_or("", |found| found.as_str()).trim_end_matches('.').to_owned()
}

/// Equal as texts, once zeros behind a point and commas are gone.
fn is_right(found: &str, target: &str) -> bool {
    let found = if found.contains('.') { found.trim_end_matches('0').trim_end_matches('.') } else { found };
    found.replace(',', "") == target.replace(',', "")
}

const LANGUAGES: [Language; 11] = [
    Language {
        code: "bn",
        latin: false,
        prefix: "উত্তর",
        instruction: "এই গণিতের সমস্যাটি সমাধান করুন। চূড়ান্ত উত্তর দেওয়ার আগে যুক্তিসম্পন্ন পদক্ষেপ প্রদান করুন। চূড়ান্ত উত্তরটি একক সংখ্যা হিসাবে \"উত্তর:\" এর পরে শেষ লাইনে দিন। \"উত্তর:\" এর পরে অন্য কিছু যুক্ত করবেন না।.",
    },
    Language {
        code: "de",
        latin: true,
        prefix: "Antwort",
        instruction: "Löse dieses Mathematikproblem. Gib die Schritte zur Begründung an, bevor du die endgültige Antwort in der letzten Zeile alleine im Format \"Antwort:\" gibst. Füge nichts anderes als die ganzzahlige Antwort nach \"Antwort:\" hinzu.",
    },
    Language {
        code: "en",
        latin: true,
        prefix: "Answer",
        instruction: "Solve this math problem. Give the reasoning steps before giving the final answer on the last line by itself in the format of \"Answer:\". Do not add anything other than the integer answer after \"Answer:\".",
    },
    Language {
        code: "es",
        latin: true,
        prefix: "Respuesta",
        instruction: "Resuelve este problema matemático. Proporciona los pasos de razonamiento antes de dar la respuesta final en la última línea por sí misma en el formato de \"Respuesta:\". No añadas nada más que la respuesta entera después de \"Respuesta:\".",
    },
    Language {
        code: "fr",
        latin: true,
        prefix: "Réponse",
        instruction: "Résolvez ce problème de mathématiques. Donnez les étapes de raisonnement avant de fournir la réponse finale sur la dernière ligne elle-même dans le format de \"Réponse:\". N'ajoutez rien d'autre que la réponse entière après \"Réponse:\".",
    },
    Language {
        code: "ja",
        latin: false,
        prefix: "答え",
        instruction: "の数学の問題を解いてください。最終的な答えを出す前に、解答の推論過程を記述してください。そして最後の行には \"答え:\" の形式で答えを記述し、その後には整数の答え以外何も追加しないでください。",
    },
    Language {
        code: "ru",
        latin: false,
        prefix: "Ответ",
        instruction: "Решите эту математическую задачу. Объясните шаги рассуждения перед тем, как дать окончательный ответ в последней строке сам по себе в формате \"Ответ:\". Не добавляйте ничего, кроме целочисленного ответа после \"Ответ:\".",
    },
    Language {
        code: "sw",
        latin: true,
        prefix: "Jibu",
        instruction: "Suluhisha tatizo hili la hesabu. Toa hatua za mantiki kabla ya kutoa jibu la mwisho kwenye mstari wa mwisho peke yake katika muundo wa \"Jibu:\". Usiongeze chochote kingine isipokuwa jibu la integer baada ya \"Jibu:\".",
    },
    Language {
        code: "te",
        latin: false,
        prefix: "సమాధానం",
        instruction: "ఈ గణిత సమస్యను పరిష్కరించండి. చివరి సమాధానాన్ని ఇవ్వదానికి ముందు తర్కాత్మక అదుగులను ఇవ్వండి. చివరి పంక్తిలో మాత్రమే 'సమాధానం:' అనే ఆకారంలో చివరి సమాధానాద్ని ఇవ్వండి సమాధానం: తర్వాత పూర్ణాంక సమాధానానికి తప్పించి ఎదేనా చేర్చవద్దు.",
    },
    Language {
        code: "th",
        latin: false,
        prefix: "คำตอบ",
        instruction: "แก้ปัญหาคณิตศาสตร์นี้ ให้ให้ขั้นตอนการใช้เหตุผลก่อนที่จะให้คำตอบสุดท้ายในบรรทัดสุดท้ายโดยอยู่ในรูปแบบ \"คำตอบ:\" ไม่ควรเพิ่มอะไรนอกจากคำตอบที่เป็นจำนวนเต็มหลังจาก \"คำตอบ:\"",
    },
    Language {
        code: "zh",
        latin: false,
        prefix: "答案",
        instruction: "解决这个数学问题。在最后一行给出答案前，请提供推理步骤。最后一行应该以 \"答案: \" 的形式独立给出答案。在 \"答案：\" 后不要添加除整数答案之外的任何内容。",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::sha256_hex;

    #[test]
    fn the_instructions_are_those_of_simple_evals_to_the_byte() {
        let expected = [
            ("bn", "b4f359d8ca97e11f"),
            ("de", "6d18189a512edae1"),
            ("en", "7d80c5affb9a3f23"),
            ("es", "3dd6945dc1534283"),
            ("fr", "2feeb475ee101dcb"),
            ("ja", "fa5dd274bdc29593"),
            ("ru", "0aa2334f7ac7017f"),
            ("sw", "85cee65edc44ac4e"),
            ("te", "f1d4f0b0dcf26a58"),
            ("th", "51c4c886da19a0d3"),
            ("zh", "848ccb58316240bc"),
        ];
        let hash = |language: &Language| {
            let prompt = language.question(0, "{input}", "1").unwrap().prompt;
            (language.code, sha256_hex(prompt.as_bytes())[..16].to_owned())
        };
        assert_eq!(LANGUAGES.iter().map(hash).collect::<Vec<_>>(), expected.map(|(a, b)| (a, b.to_owned())));
    }

    #[test]
    fn answers_are_marked_as_upstream_marks_them() {
        for (target, answer, score) in [
            ("18", "**Answer:** $18.00", 1.0),
            ("18", "Answer: 18 dollars, i.e. 1800 cents", 0.0),
            ("5", "Answer: -5", 1.0),
            ("1080", "Answer: 1,080.", 1.0),
            ("18", "answer: 18", 0.0),
            ("18", "The Answer is 18", 1.0),
            ("18", "Answer: 18\nAnswer explanation: 3 steps", 0.0),
            ("20", "Answer: 20.0", 1.0),
            ("18", r"Answer: \boxed{18}", 1.0),
            ("5", "Answer: 05", 0.0),
            ("5", "Answer: ৫", 0.0),
            ("2,125", "Answer: 2125", 1.0),
        ] {
            let key = Key { language: "en".to_owned(), target: target.to_owned() };
            assert_eq!(key.mark(answer).score, score, "{answer:?}");
        }
        let german = Key { language: "de".to_owned(), target: "7".to_owned() };
        assert_eq!((german.mark("Antwort: 7").score, german.mark("Answer: 7").score), (1.0, 0.0));
        assert_eq!(german.mark("Answer: 7").robust.score, 1.0);
    }

    #[test]
    fn a_problem_is_the_stem_of_its_translations() {
        let question = LANGUAGES[0].question(3, "q", "4").unwrap();
        assert_eq!((question.id.as_str(), question.stem.as_str()), ("bn_3", "problem_3"));
        assert_eq!(question.sections, ["bn", "group_non_latin"]);
        let told = LANGUAGES[0].question(3, "q", "4.5").unwrap_err();
        assert_eq!(told, "expected a whole number in the second column, found \"4.5\"");
    }
}
