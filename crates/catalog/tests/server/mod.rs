//! A loopback HTTP server that answers as told, and zip archives to serve.

use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub number: usize,
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut_after: Option<usize>,
    states_length: bool,
    stands_still: bool,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut_after: None,
            states_length: true,
            stands_still: false,
        }
    }

    pub fn ok(body: Vec<u8>) -> Self {
        Self { body, ..Self::status(200) }
    }

    pub fn json(text: &str) -> Self {
        Self::ok(text.as_bytes().to_vec()).header("content-type", "application/vnd.pypi.simple.v1+json")
    }

    pub fn range(bytes: &[u8], start: usize) -> Self {
        let total = bytes.len();
        if start >= total {
            return Self::status(416).header("content-range", &format!("bytes */{total}"));
        }
        let reply = Self { body: bytes[start..].to_vec(), ..Self::status(206) };
        reply.header("content-range", &format!("bytes {start}-{}/{total}", total - 1))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Promises everything and closes the connection after so many bytes.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    /// Keeps the connection open after its last byte, until the client is gone.
    pub fn then_stand_still(mut self) -> Self {
        self.stands_still = true;
        self
    }

    /// Ends by closing, as servers of old do.
    pub fn without_length(mut self) -> Self {
        self.states_length = false;
        self
    }

    fn write(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        write!(stream, "HTTP/1.1 {} X\r\nconnection: close\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        if self.states_length {
            write!(stream, "content-length: {}\r\n", self.body.len())?;
        }
        write!(stream, "\r\n")?;
        let end = self.cut_after.map_or(self.body.len(), |cut| cut.min(self.body.len()));
        stream.write_all(&self.body[..end])?;
        if self.stands_still {
            std::io::copy(stream, &mut std::io::sink())?;
        }
        Ok(())
    }
}

/// Listens on loopback until the test's process ends.
pub struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let number = log.lock().unwrap().len();
                let Some(request) = read(&stream, number) else { continue };
                log.lock().unwrap().push(request.clone());
                // A client that hangs up in the middle is its own affair.
                let _ = answer(&request).write(&mut stream);
            }
        });
        Self { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }
}

fn read(stream: &TcpStream, number: usize) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.split('?').next()?.to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.trim().to_lowercase(), value.trim().to_owned()));
    }
    Some(Asked { number, path, headers })
}

/// A zip archive with these entries, names as given.
pub fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
