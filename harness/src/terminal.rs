//! What a person reads on a terminal: [`say`] on standard error, [`tell`] on standard output. Text carries its colours as
//! escapes from [`paint`], which go where nobody could see them: into a file, under `NO_COLOR`; `CLICOLOR_FORCE` keeps
//! them. On a terminal lines longer than it are wrapped below their own beginning; a pipe gets them as they are. Only
//! colours that can be read on light and on dark, none bright, and none the only sign of anything. Must not know what is
//! said.
//!
//! 终端输出：颜色、宽度与换行；宽字符按两列计。

use std::borrow::Cow;

use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthChar as _;

/// A line that begins so is to be copied: it is never broken.
const WHOLE: [&str; 4] = ["again: ", "saved: ", "reports: ", "files: "];

/// Writes `text` and a line end to standard error.
pub fn say(text: &str) {
    let width = tcgetwinsize(std::io::stderr()).ok().map(|size| usize::from(size.ws_col));
    anstream::eprintln!("{}", laid_out(text, width));
}

/// Writes `text`, which ends its own lines, to standard output.
pub fn tell(text: &str) {
    let width = tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    // A reader that went away is no error.
    let _ = std::io::Write::write_all(&mut anstream::stdout(), laid_out(text, width).as_bytes());
}

fn laid_out(text: &str, width: Option<usize>) -> String {
    let lines = text.split('\n').map(|line| {
        let line = headed(line);
        match width {
            Some(width) => wrapped(&line, width),
            None => line.into_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What a line that begins with its own word is: `error: …` and `warning: …` are marked as such.
fn headed(line: &str) -> Cow<'_, str> {
    for (word, ink) in [("error:", Ink::Bad), ("warning:", Ink::Doubt)] {
        if let Some(rest) = line.strip_prefix(word) {
            return Cow::Owned(format!("{}{rest}", paint(ink, word)));
        }
    }
    Cow::Borrowed(line)
}

/// What a text means, which its colour says once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Passed.
    Good,
    /// Red.
    Bad,
    /// Neither: skipped, inconclusive, a warning.
    Doubt,
    /// A heading, a name.
    Strong,
}

/// `text` in the colour of what it means.
pub fn paint(ink: Ink, text: &str) -> String {
    let code = match ink {
        Ink::Good => "32",
        Ink::Bad => "1;31",
        // Not yellow, which is not seen on white.
        Ink::Doubt => "35",
        Ink::Strong => "1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// How many columns `text` takes: two for a wide character, none for an escape.
pub fn width(text: &str) -> usize {
    pieces(text).map(|(_, columns)| columns).sum()
}

/// `text` followed by as many spaces as fill `columns`.
pub fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// `text` preceded by as many spaces as fill `columns`.
pub fn indented(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Characters and whole escapes, each with its columns.
fn pieces(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let escape =
            rest.strip_prefix("\u{1b}[").and_then(|tail| tail.find(|c: char| c.is_ascii_alphabetic()));
        let (length, columns) = match escape {
            // `ESC [`, the parameters, and the letter.
            Some(parameters) => (parameters + 3, 0),
            None => (first.len_utf8(), first.width().unwrap_or(0)),
        };
        let (piece, tail) = rest.split_at(length);
        rest = tail;
        Some((piece, columns))
    })
}

/// `line` in lines of at most `most` columns; the later ones begin two columns behind its own beginning. Broken at a space
/// where one is near, else anywhere.
fn wrapped(line: &str, most: usize) -> String {
    let margin = line.len() - line.trim_start_matches(' ').len();
    let whole = WHOLE.iter().any(|word| line[margin..].starts_with(word));
    if width(line) <= most || most < margin + 20 || whole {
        return line.to_owned();
    }
    let hang = " ".repeat(margin + 2);
    let (mut done, mut current, mut columns, mut space) = (String::new(), String::new(), 0, None);
    for (piece, wide) in pieces(line) {
        if columns + wide > most {
            // The space that is broken at ends the line; what comes after it begins the next.
            let room = most - hang.len();
            let begun = match space.take() {
                Some((at, before)) if piece != " " && columns - before < room => current.split_off(at),
                _ => String::new(),
            };
            done.push_str(current.trim_end_matches(' '));
            done.push('\n');
            current = format!("{hang}{}", begun.trim_start_matches(' '));
            columns = width(&current);
            if piece == " " {
                continue;
            }
        }
        current.push_str(piece);
        columns += wide;
        // A break far from the end would leave a ragged page.
        if piece == " " && columns > most / 2 {
            space = Some((current.len(), columns));
        }
    }
    done + &current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_character_takes_two_columns_and_an_escape_none() {
        assert_eq!(width("ab你好"), 6);
        assert_eq!(width(&paint(Ink::Bad, "红")), 2);
        assert_eq!((padded("你", 4), indented("你", 4)), ("你  ".to_owned(), "  你".to_owned()));
    }

    #[test]
    fn a_long_line_goes_on_below_its_own_beginning() {
        let line = "  status: expected 200, found 400 and nothing else";
        assert_eq!(wrapped(line, 30), "  status: expected 200, found\n    400 and nothing else");
        assert_eq!(wrapped("short", 30), "short");
        // What has no space is broken where it must.
        assert_eq!(
            wrapped(&format!("  {}", "x".repeat(30)), 24),
            format!("  {}\n    {}", "x".repeat(22), "x".repeat(8))
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_whatever_is_in_it() {
        let text = format!(
            "  {} 请求 {} 你好世界你好世界你好世界你好世界你好世界你好世界 plain words that go on and on and on",
            paint(Ink::Strong, "functional::chat_core::basic"),
            "{\"id\":\"chatcmpl\",\"object\":\"chat.completion\"}".repeat(3),
        );
        for most in [24, 33, 40, 79, 80] {
            let shown = wrapped(&text, most);
            assert!(shown.lines().all(|line| width(line) <= most), "{most}:\n{shown}");
            let words = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(words(&shown), words(&text), "nothing is lost");
        }
    }

    #[test]
    fn what_is_to_be_copied_is_never_broken_and_a_pipe_gets_lines_as_they_are() {
        for line in
            [format!("  again: curl -sS {}", "x".repeat(100)), format!("reports: ./{}", "x".repeat(100))]
        {
            assert_eq!(wrapped(&line, 80), line);
            assert_eq!(laid_out(&line, None), line);
        }
    }

    #[test]
    fn an_error_is_marked_by_its_word() {
        assert_eq!(laid_out("error: no", None), "\u{1b}[1;31merror:\u{1b}[0m no");
        assert_eq!(laid_out("no error: here", None), "no error: here");
    }
}
