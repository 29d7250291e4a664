//! From the events of one exchange to what happened when: [`Timeline`] takes the events, a [`Record`] is
//! what remains. Pure: no clock, no network. Must not know how a request was made, nor which figures follow.
//!
//! 单个请求的时间线：由交换事件得出各时刻、逐事件 token 数与结局。

use serde_json::Value;

use crate::{
    client::{End, Event, Fault, Frames, Stamp},
    perf::{
        chunk::{self, Chunk, Usage},
        mould::{Cast, Mould},
        record::{Channel, Connection, Outcome, Record, TokenEvent, TokenSource, Turn},
    },
};

/// Which request a timeline is of, known before it starts.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// See [`Record::index`].
    pub index: u64,
    /// See [`Record::warmup`].
    pub warmup: bool,
    /// See [`Record::epoch`].
    pub epoch: u32,
    /// See [`Record::conversation`].
    pub conversation: Option<Turn>,
    /// See [`Record::worker`].
    pub worker: u32,
    /// See [`Record::in_flight`].
    pub in_flight: u32,
    /// See [`Record::scheduled`].
    pub scheduled: Stamp,
    /// See [`Record::admitted`].
    pub admitted: Stamp,
    /// See [`Record::started`].
    pub started: Stamp,
}

/// How much of a refusal's body is kept for its message.
const REFUSAL_KEPT: usize = 4096;
/// More tokens than this in one event are a server's error, and would be as many gaps of nothing here.
const MOST_AT_ONCE: u32 = 1_000_000;

/// Takes the events of one exchange as they happen.
pub struct Timeline {
    frames: Frames,
    story: Story,
}

/// What is known so far.
struct Story {
    record: Record,
    mould: Mould,
    event_stream: bool,
    refusal: Vec<u8>,
    /// The server's running count, where its events carry one.
    running: Option<u64>,
    /// Of what the last event showed anything.
    shown: Option<Channel>,
    total: Option<u64>,
    /// Tokens of the reasoning, where the server counts them apart.
    reasoning: Option<u64>,
    /// What is wrong with the stream; the first finding stands.
    fault: Option<Outcome>,
    /// The answer's text so far, as the inside of a JSON string; nothing where nobody asks for it.
    said: Option<String>,
}

impl Timeline {
    /// A request that is about to start.
    pub fn new(slot: Slot) -> Self {
        let story = Story {
            record: Record {
                index: slot.index,
                warmup: slot.warmup,
                epoch: slot.epoch,
                conversation: slot.conversation,
                worker: slot.worker,
                in_flight: slot.in_flight,
                scheduled: slot.scheduled,
                admitted: slot.admitted,
                started: slot.started,
                connection: None,
                connect_ns: None,
                sent: None,
                headers: None,
                first_event: None,
                first_token: None,
                first_answer: None,
                last_token: None,
                finish: None,
                done: None,
                ended: slot.started,
                status: None,
                request_id: None,
                finish_reason: None,
                prompt_tokens: None,
                cached_tokens: None,
                output_tokens: 0,
                reasoning_tokens: None,
                content_tokens: None,
                token_source: TokenSource::Events,
                events: Vec::new(),
                bytes: 0,
                outcome: Outcome::Cancelled,
            },
            mould: Mould::default(),
            event_stream: false,
            refusal: Vec::new(),
            running: None,
            shown: None,
            total: None,
            reasoning: None,
            fault: None,
            said: None,
        };
        Self { frames: Frames::default(), story }
    }

    /// The same, which keeps what the answer says.
    #[must_use]
    pub fn listening(mut self) -> Self {
        self.story.said = Some(String::new());
        self
    }

    /// Takes the next event.
    pub fn on(&mut self, event: &Event<'_>) {
        let Self { frames, story } = self;
        match event {
            Event::Connected(connection) => {
                let (connection, connect_ns) = Connection::told(*connection);
                (story.record.connection, story.record.connect_ns) = (Some(connection), connect_ns);
            }
            Event::Sent(at) => story.record.sent = Some(*at),
            Event::Headers { at, status, headers } => story.headers(*at, *status, headers),
            Event::Bytes(at, bytes) => story.bytes(*at, bytes, frames),
            Event::End(at, end) => story.end(*at, end),
        }
    }

    /// Whether a token has come.
    pub fn decodes(&self) -> bool {
        self.story.record.first_token.is_some()
    }

    /// What happened, once the exchange has ended.
    pub fn finish(self) -> Record {
        self.story.finish()
    }

    /// The same, and what the answer said, as the inside of a JSON string: its text without any reasoning. Empty where
    /// nobody [listened](Self::listening).
    pub fn finish_with_answer(mut self) -> (Record, String) {
        let said = self.story.said.take().unwrap_or_default();
        (self.story.finish(), said)
    }
}

impl Story {
    fn finish(mut self) -> Record {
        let shown: u64 = self.record.events.iter().map(|event| u64::from(event.tokens)).sum();
        (self.record.output_tokens, self.record.token_source) = match (self.running(), self.total) {
            (Some(running), total) => (total.unwrap_or(running), TokenSource::UsagePerEvent),
            (None, Some(total)) => (total, TokenSource::UsageTotal),
            (None, None) => (shown, TokenSource::Events),
        };
        (self.record.reasoning_tokens, self.record.content_tokens) = self.divided();
        // Thousands of records are kept to the end of a run.
        self.record.events.shrink_to_fit();
        self.record
    }

    /// How many of the output tokens are reasoning, and how many are not.
    fn divided(&self) -> (Option<u64>, Option<u64>) {
        let output = self.record.output_tokens;
        let of = |wanted| {
            let events = self.record.events.iter().filter(|event| event.channel == wanted);
            events.map(|event| u64::from(event.tokens)).sum::<u64>()
        };
        let reasoning = match (self.reasoning, of(Channel::Reasoning), of(Channel::Answer)) {
            (Some(told), ..) => Some(told),
            (None, 0, 0) if !self.record.events.is_empty() => None,
            (None, 0, _) => Some(0),
            (None, _, 0) => Some(output),
            // One total for both, and events that do not say how many tokens they hold.
            (None, ..) if self.record.token_source == TokenSource::UsageTotal => None,
            (None, shown, _) => Some(shown),
        };
        (reasoning, reasoning.and_then(|reasoning| output.checked_sub(reasoning)))
    }

    fn headers(&mut self, at: Stamp, status: u16, headers: &[(String, String)]) {
        self.record.headers = Some(at);
        self.record.status = Some(status);
        self.event_stream = (200..300).contains(&status)
            && headers.iter().any(|(name, value)| {
                name == "content-type" && value.to_ascii_lowercase().starts_with("text/event-stream")
            });
    }

    fn bytes(&mut self, at: Stamp, bytes: &[u8], frames: &mut Frames) {
        self.record.bytes += bytes.len() as u64;
        if !self.event_stream {
            let room = REFUSAL_KEPT.saturating_sub(self.refusal.len());
            self.refusal.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return;
        }
        frames.push(bytes, &mut |name, data| self.message(at, name, data));
        if let Some(fault) = frames.fault() {
            let message = fault.to_string();
            self.blame(Outcome::Malformed { message });
        }
    }

    /// One event of the stream.
    fn message(&mut self, at: Stamp, name: &str, data: &str) {
        self.record.first_event.get_or_insert(at);
        if data == "[DONE]" {
            self.record.done.get_or_insert(at);
            return;
        }
        if name == "message"
            && let Some(Cast { channel, count }) = self.mould.take(data)
        {
            if let Some(said) = self.said.as_mut().filter(|_| channel == Channel::Answer) {
                said.push_str(self.mould.text(data));
            }
            return self.tokens(at, channel, count);
        }
        match serde_json::from_str::<Chunk<'_>>(data) {
            Ok(chunk) => match chunk.error(name) {
                Some(message) => self.blame(Outcome::StreamError { message }),
                None => self.chunk(at, &chunk, data),
            },
            Err(_) if name == "error" => self.blame(Outcome::StreamError { message: excerpt(data) }),
            Err(error) => self.blame(Outcome::Malformed {
                message: format!("an event is no completion chunk ({error}): {}", excerpt(data)),
            }),
        }
    }

    fn chunk(&mut self, at: Stamp, chunk: &Chunk<'_>, data: &str) {
        let choices = chunk.choices();
        let finish = choices.finish_reason.as_deref();
        if self.record.request_id.is_none() {
            self.record.request_id = chunk.id().map(str::to_owned);
        }
        let closing = choices.empty || self.closes(finish);
        let told = chunk.usage.as_ref().and_then(|usage| self.usage(usage, closing));
        let count = told.filter(|_| !closing);
        let channel = match (choices.answer, choices.reasoning) {
            (true, _) => Some(Channel::Answer),
            (false, true) => Some(Channel::Reasoning),
            (false, false) => None,
        };
        if let Some(said) = self.said.as_mut().filter(|_| choices.answer) {
            chunk::say(data, said);
        }
        match (channel, count) {
            (Some(channel), count) => {
                self.tokens(at, channel, count);
                if finish.is_none() {
                    self.mould.make(data, Cast { channel, count });
                }
            }
            (None, Some(count)) => self.unshown(at, count),
            (None, None) => {}
        }
        if let Some(reason) = finish {
            self.record.finish.get_or_insert(at);
            self.record.finish_reason = Some(reason.to_owned());
        }
    }

    /// Whether the usage of an event that finishes is a total: there were tokens, and no count ran with them.
    fn closes(&self, finish: Option<&str>) -> bool {
        finish.is_some() && self.running().is_none() && !self.record.events.is_empty()
    }

    /// Takes what the server counts, and says how many output tokens that are.
    fn usage(&mut self, usage: &Usage, closing: bool) -> Option<u64> {
        if usage.prompt_tokens.is_some() {
            self.record.prompt_tokens = usage.prompt_tokens;
        }
        if let Some(cached) = usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens) {
            self.record.cached_tokens = Some(cached);
        }
        let details = usage.completion_tokens_details.as_ref();
        self.reasoning = details.and_then(|details| details.reasoning_tokens).or(self.reasoning);
        if closing {
            self.total = usage.completion_tokens.or(self.total);
        }
        usage.completion_tokens
    }

    /// An event that shows tokens: as many as the server's running count grew by, else one.
    fn tokens(&mut self, at: Stamp, channel: Channel, running: Option<u64>) {
        let tokens = running.map_or(1, |now| self.grown(now).max(1));
        self.shown = Some(channel);
        if channel == Channel::Answer {
            self.record.first_answer.get_or_insert(at);
        }
        self.event(at, channel, tokens);
    }

    /// An event that shows nothing: it holds tokens where the server's running count has grown. They are of what was
    /// shown before them.
    fn unshown(&mut self, at: Stamp, running: u64) {
        let tokens = self.grown(running);
        if tokens > 0 {
            self.event(at, self.shown.unwrap_or(Channel::Unshown), tokens);
        }
    }

    /// The running count; none where no event with tokens has one.
    fn running(&self) -> Option<u64> {
        self.running.filter(|count| *count > 0)
    }

    /// By how much the running count has grown. It never falls: with several choices each may have its own.
    fn grown(&mut self, now: u64) -> u64 {
        let before = self.running.unwrap_or(0);
        self.running = Some(before.max(now));
        now.saturating_sub(before)
    }

    fn event(&mut self, at: Stamp, channel: Channel, tokens: u64) {
        let Some(tokens) = u32::try_from(tokens).ok().filter(|tokens| *tokens <= MOST_AT_ONCE) else {
            let message = format!("usage counts {tokens} tokens into one event, which nobody can believe");
            return self.blame(Outcome::Malformed { message });
        };
        self.record.first_token.get_or_insert(at);
        self.record.last_token = Some(at);
        self.record.events.push(TokenEvent { at, tokens, channel });
    }

    /// A total of tokens, and no event that held one: by the event that finished all of them had been made.
    fn unshown_in_all(&mut self) {
        if let (Some(tokens @ 1..), Some(finish), []) = (self.total, self.record.finish, &*self.record.events)
        {
            self.event(finish, Channel::Unshown, tokens);
        }
    }

    fn blame(&mut self, outcome: Outcome) {
        self.fault.get_or_insert(outcome);
    }

    fn end(&mut self, at: Stamp, end: &End) {
        self.record.ended = at;
        self.unshown_in_all();
        let by_transport = match end {
            End::Complete => None,
            End::Broken(Fault::Cancelled) => Some(Outcome::Cancelled),
            End::Broken(fault @ Fault::Timeout { .. }) => {
                Some(Outcome::Timeout { message: fault.to_string() })
            }
            End::Broken(fault) => Some(Outcome::Transport { message: fault.to_string() }),
        };
        // An error that the server told explains the broken connection after it.
        self.record.outcome = self.fault.take().or(by_transport).unwrap_or_else(|| self.judge_complete());
    }

    fn judge_complete(&self) -> Outcome {
        let record = &self.record;
        match record.status {
            None => Outcome::Malformed { message: "the exchange ended without a status line".to_owned() },
            Some(status) if !(200..300).contains(&status) => {
                Outcome::Status { status, message: refusal_message(&self.refusal) }
            }
            Some(_) if !self.event_stream => Outcome::Malformed {
                message: format!(
                    "expected content-type text/event-stream, found a body that begins with {}",
                    excerpt(&String::from_utf8_lossy(&self.refusal))
                ),
            },
            Some(_) if record.done.is_none() || record.finish.is_none() => Outcome::Truncated,
            Some(_) if record.events.is_empty() => Outcome::Empty,
            Some(_) => Outcome::Ok,
        }
    }
}

/// The first words of something unexpected, quoted.
fn excerpt(text: &str) -> String {
    let kept: String = text.chars().take(200).collect();
    if kept.len() < text.len() { format!("{kept:?}…") } else { format!("{kept:?}") }
}

/// What a refusal says: the error's message where there is one, else how the body begins.
fn refusal_message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|value| {
            let message = value.pointer("/error/message").or_else(|| value.get("message"))?;
            message.as_str().map(str::to_owned)
        })
        .unwrap_or_else(|| excerpt(&text))
}

#[cfg(test)]
mod tests;
