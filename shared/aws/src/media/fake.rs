//! A stand-in for S3 over plain HTTP, for tests: it pages, orders and refuses as S3 documents that it does, where the emulator of the
//! local stack is laxer, and needs no stack.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard},
};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Builder, Credentials, Region, retry::RetryConfig},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// A request, decoded.
pub(super) struct Asked {
    pub(super) method: String,
    /// Without the bucket.
    pub(super) key: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: BTreeMap<String, String>,
}

/// Status, headers, body.
pub(super) type Answered = (u16, Vec<(&'static str, String)>, String);

/// Serves a bucket called `b` and gives a client of it.
pub(super) async fn serve(answer: impl Fn(Asked) -> Answered + Send + Sync + 'static) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(converse(connection, Arc::clone(&answer)));
        }
    });
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .force_path_style(true)
        .endpoint_url(url);
    Client::from_conf(config.build())
}

async fn converse(connection: TcpStream, answer: Arc<impl Fn(Asked) -> Answered>) -> Option<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let asked = decode(&lines);
        let is_head = asked.method == "HEAD";
        let (status, headers, body) = answer(asked);
        let mut text = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        text.push_str("\r\n");
        if !is_head {
            text.push_str(&body);
        }
        connection.get_mut().write_all(text.as_bytes()).await.ok()?;
    }
}

fn decode(lines: &[String]) -> Asked {
    let mut request = lines[0].split(' ');
    let (method, target) = (request.next().unwrap().to_owned(), request.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (plain(name), plain(value))
    };
    let header = |line: &String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Asked {
        method,
        key: plain(path.strip_prefix("/b").unwrap().trim_start_matches('/')),
        query: query.split('&').map(pair).collect(),
        headers: lines[1..].iter().filter_map(header).collect(),
    }
}

/// Undoes percent-encoding.
pub(super) fn plain(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// One version, as stored and listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) second: i64,
    /// Nothing for a delete marker.
    pub(super) content: Option<String>,
    pub(super) etag: String,
    pub(super) tags: BTreeMap<String, String>,
}

/// Puts a version into a page.
pub(super) fn put_version(page: &mut String, key: &str, version: &Version, is_latest: bool) {
    let Version { id, second, content, etag, .. } = version;
    let time = jiff::Timestamp::from_second(*second).unwrap();
    let key = escaped(key);
    let common =
        format!("<Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{is_latest}</IsLatest><LastModified>{time}</LastModified>");
    match content {
        Some(content) => {
            let size = content.len();
            let own = format!("<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass>");
            write!(page, "<Version>{common}{own}</Version>").unwrap();
        }
        None => write!(page, "<DeleteMarker>{common}</DeleteMarker>").unwrap(),
    }
}

/// Closes a page, with the last key and version if another one follows.
pub(super) fn whole_page(versions: &str, next: Option<(&str, &str)>) -> Answered {
    let next = next.map(|(key, id)| {
        let key = escaped(key);
        format!(
            "<IsTruncated>true</IsTruncated><NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>{id}</NextVersionIdMarker>"
        )
    });
    (200, Vec::new(), format!("<ListVersionsResult>{}{versions}</ListVersionsResult>", next.unwrap_or_default()))
}

pub(super) fn error(status: u16, code: &str) -> Answered {
    (status, Vec::new(), format!("<Error><Code>{code}</Code><Message>as planned</Message></Error>"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

pub(super) fn tagging(tags: &BTreeMap<String, String>) -> Answered {
    let tag =
        |(key, value): (&String, &String)| format!("<Tag><Key>{}</Key><Value>{}</Value></Tag>", escaped(key), escaped(value));
    let tags: String = tags.iter().map(tag).collect();
    (200, Vec::new(), format!("<Tagging><TagSet>{tags}</TagSet></Tagging>"))
}

/// A bucket that keeps its versions, in pages of a few.
pub(super) struct FakeBucket {
    /// Newest last.
    pub(super) keys: Mutex<BTreeMap<String, Vec<Version>>>,
    pub(super) page: usize,
    /// As under a KMS key: tags say nothing, checksums do.
    pub(super) tags_are_random: bool,
    pub(super) versioning: &'static str,
}

impl FakeBucket {
    pub(super) fn new(page: usize) -> Self {
        Self { keys: Mutex::default(), page, tags_are_random: false, versioning: "Enabled" }
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Version>>> {
        self.keys.lock().unwrap()
    }

    pub(super) fn put(&self, key: &str, content: Option<&str>, tags: BTreeMap<String, String>) -> Version {
        let mut keys = self.keys();
        let number = keys.values().map(Vec::len).sum::<usize>();
        let etag =
            if self.tags_are_random { format!("random-{number}") } else { format!("etag-of-{}", content.unwrap_or_default()) };
        let second = 1_700_000_000 + i64::try_from(number).unwrap();
        let version = Version { id: format!("v{number}"), second, content: content.map(str::to_owned), etag, tags };
        keys.entry(key.to_owned()).or_default().push(version.clone());
        version
    }

    pub(super) fn live(&self) -> BTreeMap<String, String> {
        let keys = self.keys();
        keys.iter().filter_map(|(key, versions)| Some((key.clone(), versions.last()?.content.clone()?))).collect()
    }

    fn find(&self, key: &str, id: &str) -> Option<Version> {
        self.keys().get(key)?.iter().find(|version| version.id == id).cloned()
    }

    pub(super) fn answer(&self, asked: &Asked) -> Answered {
        let version = asked.query.get("versionId").and_then(|id| self.find(&asked.key, id));
        match (asked.method.as_str(), asked.key.as_str()) {
            ("GET", "") if asked.query.contains_key("versions") => self.list(asked),
            ("GET", "") if asked.query.contains_key("versioning") => {
                let status = format!("<VersioningConfiguration><Status>{}</Status></VersioningConfiguration>", self.versioning);
                (200, Vec::new(), status)
            }
            ("GET", _) if asked.query.contains_key("tagging") => {
                version.map_or_else(|| error(404, "NoSuchVersion"), |version| tagging(&version.tags))
            }
            ("HEAD", _) => match version.and_then(|version| version.content) {
                // Any function of the content will do.
                Some(content) => {
                    let headers = vec![("x-amz-checksum-crc64nvme", content), ("x-amz-checksum-type", "FULL_OBJECT".to_owned())];
                    (200, headers, String::new())
                }
                None => error(404, "NoSuchVersion"),
            },
            ("PUT", key) => self.copy(asked, key),
            ("DELETE", key) => {
                assert_eq!(asked.query.get("versionId"), None, "a version is never deleted");
                if !self.is_as_expected(asked, key) {
                    return error(412, "PreconditionFailed");
                }
                self.put(key, None, BTreeMap::new());
                (204, Vec::new(), String::new())
            }
            (method, key) => panic!("nobody needs {method} {key}"),
        }
    }

    fn is_as_expected(&self, asked: &Asked, key: &str) -> bool {
        let newest = self.keys().get(key).and_then(|versions| versions.last().cloned());
        let live = newest.filter(|version| version.content.is_some()).map(|version| format!("\"{}\"", version.etag));
        match (asked.headers.get("if-match"), asked.headers.get("if-none-match")) {
            (Some(etag), None) => live.as_ref() == Some(etag),
            (None, Some(any)) => any == "*" && live.is_none(),
            _ => panic!("every change has its condition"),
        }
    }

    fn copy(&self, asked: &Asked, key: &str) -> Answered {
        if !self.is_as_expected(asked, key) {
            return error(412, "PreconditionFailed");
        }
        let (source, id) = asked.headers["x-amz-copy-source"].split_once("?versionId=").unwrap();
        assert_eq!(plain(source), format!("b/{key}"), "a version is copied onto its own key");
        let Some(content) = self.find(key, &plain(id)).and_then(|version| version.content) else {
            return error(404, "NoSuchVersion");
        };
        assert_eq!(asked.headers["x-amz-tagging-directive"], "REPLACE");
        let tags = asked.headers.get("x-amz-tagging").map_or("", String::as_str);
        let tags = tags.split('&').filter_map(|tag| tag.split_once('=')).map(|(name, value)| (plain(name), plain(value)));
        let made = self.put(key, Some(&content), tags.collect());
        let body = format!("<CopyObjectResult><ETag>&quot;{}&quot;</ETag></CopyObjectResult>", made.etag);
        (200, vec![("x-amz-version-id", made.id)], body)
    }

    fn list(&self, asked: &Asked) -> Answered {
        let (prefix, keys) = (&asked.query["prefix"], self.keys());
        let all = keys.iter().filter(|(key, _)| key.starts_with(prefix.as_str()));
        let all =
            all.flat_map(|(key, versions)| versions.iter().rev().enumerate().map(move |(age, version)| (key, age, version)));
        let marker = asked.query.get("key-marker").zip(asked.query.get("version-id-marker"));
        let is_before =
            |(key, _, version): &(&String, usize, &Version)| marker.is_some_and(|(last, id)| *key != last || version.id != *id);
        let mut rest: Vec<_> = all.skip_while(is_before).skip(usize::from(marker.is_some())).collect();
        let is_whole = rest.len() <= self.page;
        rest.truncate(self.page);
        let mut page = String::new();
        for (key, age, version) in &rest {
            put_version(&mut page, key, version, *age == 0);
        }
        let next = rest.last().filter(|_| !is_whole).map(|(key, _, version)| (key.as_str(), version.id.as_str()));
        whole_page(&page, next)
    }
}
