//! A server that does exactly what a test tells it to, byte by byte; for tests only.
//! Must not know HTTP beyond where a request ends.
//!
//! 测试用的脚本化服务器。

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// What the server does on a connection.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Read one whole request.
    Read,
    /// Write these bytes at once.
    Write(Vec<u8>),
    /// Wait this many milliseconds.
    Wait(u64),
    /// Wait until the client goes away.
    Stall,
    /// Reset the connection.
    Reset,
}

pub(crate) fn write(text: impl AsRef<[u8]>) -> Step {
    Step::Write(text.as_ref().to_vec())
}

/// The n-th connection follows the n-th script and is then closed.
pub(crate) struct Server {
    pub(crate) base_url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let base_url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        tokio::spawn(async move {
            for script in scripts {
                let Ok((connection, _)) = listener.accept().await else { return };
                tokio::spawn(follow(connection, script, Arc::clone(&log)));
            }
        });
        Self { base_url, requests }
    }

    /// One connection that answers each request with `answer`.
    pub(crate) async fn answering(answer: &str) -> Self {
        Self::start(vec![vec![Step::Read, write(answer)]]).await
    }

    /// The requests so far, head and body as they came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("the log").clone()
    }
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    format!("http://{}/v1", listener.local_addr().expect("an address"))
}

/// An address whose queue of connections is full, so that no further one comes to be; as long as the rest is kept.
pub(crate) async fn full() -> (String, Vec<tokio::task::JoinHandle<()>>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a loopback port");
    let listener = socket.listen(0).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let fill = |_| {
        tokio::spawn(async move {
            let _connection = TcpStream::connect(address).await;
            std::future::pending::<()>().await;
        })
    };
    let mut kept: Vec<_> = (0..4).map(fill).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    kept.push(tokio::spawn(async move {
        let _listener = listener;
        std::future::pending::<()>().await;
    }));
    (format!("http://{address}/v1"), kept)
}

async fn follow(mut connection: TcpStream, script: Vec<Step>, log: Arc<Mutex<Vec<String>>>) {
    connection.set_nodelay(true).expect("nodelay");
    for step in script {
        match step {
            Step::Read => {
                let request = read_request(&mut connection).await;
                log.lock().expect("the log").push(request);
            }
            Step::Write(bytes) => drop(connection.write_all(&bytes).await),
            Step::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Step::Stall => drop(connection.read(&mut [0; 64]).await),
            Step::Reset => return connection.set_zero_linger().expect("linger"),
        }
    }
}

async fn read_request(connection: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().expect("a length"));
            if body.len() >= length {
                return text.into_owned();
            }
        }
        match connection.read(&mut buffer).await {
            Ok(0) | Err(_) => return text.into_owned(),
            Ok(n) => seen.extend_from_slice(&buffer[..n]),
        }
    }
}

/// An answer with a body of a known length.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// The head of a chunked stream of events.
pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// One HTTP chunk.
pub(crate) fn chunk(text: &str) -> Step {
    write(format!("{:x}\r\n{text}\r\n", text.len()))
}
