//! A way to the server that ends in the middle, for everybody who uses it: what is left of a process that was killed.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use sources::postgres::Endpoint;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// A way to a server on which only so many pieces are sent.
pub(crate) struct Cut {
    pub(crate) endpoint: Endpoint,
    sent: Arc<AtomicUsize>,
    _accepting: tokio::task::JoinHandle<()>,
}

impl Cut {
    /// Ends with this piece: every second time it still arrives, but nobody hears what comes of it.
    pub(crate) async fn at(server: &Endpoint, piece: usize) -> Self {
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let endpoint = Endpoint { port: listener.local_addr().unwrap().port(), ..server.clone() };
        let (sent, address) = (Arc::new(AtomicUsize::new(0)), (server.host.clone(), server.port));
        let (end, ended) = watch::channel(false);
        let end = Arc::new(end);
        let counted = Arc::clone(&sent);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                if *ended.borrow() {
                    continue;
                }
                let server = TcpStream::connect((address.0.as_str(), address.1)).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                let (counted, end) = (Arc::clone(&counted), Arc::clone(&end));
                let is_last = move || {
                    let last = counted.fetch_add(1, SeqCst) + 1 >= piece;
                    if last {
                        end.send_replace(true);
                    }
                    last
                };
                tokio::spawn(pass(from_client, to_server, ended.clone(), is_last, piece.is_multiple_of(2)));
                tokio::spawn(pass(from_server, to_client, ended.clone(), || false, false));
            }
        });
        Self { endpoint, sent, _accepting: accepting }
    }

    /// How many pieces were sent.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(SeqCst)
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut ended: watch::Receiver<bool>,
    is_last: impl Fn() -> bool,
    last_arrives: bool,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = ended.wait_for(|ended| *ended) => 0,
        };
        if read == 0 {
            return;
        }
        let last = is_last();
        if last && !last_arrives {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() || last {
            return;
        }
    }
}
