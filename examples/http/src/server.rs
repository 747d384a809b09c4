//! A slow HTTP server on loopback, on a thread of its own.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Runtime,
    sync::oneshot,
    time::sleep,
};

/// The header that announces the checksum of the body.
pub(crate) const CHECKSUM: &str = "x-checksum";

/// Of the path too, so that an answer to another request is not taken for a right one.
pub(crate) fn checksum(path: &str, body: &[u8]) -> String {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(path.as_bytes());
    hasher.update(body);
    format!("{:08x}", hasher.finalize())
}

/// Whether the server turns this request away, with status 503.
pub(crate) fn is_busy_for(number: u32) -> bool {
    number % 100 == 99
}

/// A server that runs until it is stopped.
pub(crate) struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<usize>>,
}

impl Server {
    pub(crate) fn start(delay: Duration) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = listen(&runtime)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("server".to_owned()).spawn(move || {
            let gauge = Arc::new(Gauge::default());
            let served = runtime.block_on(async {
                tokio::select! {
                    never = accept(listener, delay, &gauge) => never,
                    _ = stopped => Ok(()),
                }
            });
            served.map(|()| gauge.most.load(Ordering::Relaxed))
        })?;
        Ok(Server { address, stop, thread })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; how many requests it has seen at one time, at most.
    pub(crate) fn stop(self) -> anyhow::Result<usize> {
        drop(self.stop);
        let served = self.thread.join().ok().context("the server has panicked")?;
        served.context("the server has failed")
    }
}

fn listen(runtime: &Runtime) -> io::Result<TcpListener> {
    let _context = runtime.enter();
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    // All clients come at once, and one that finds the usual 128 places taken tries again only
    // after a second.
    socket.listen(1024)
}

async fn accept(listener: TcpListener, delay: Duration, gauge: &Arc<Gauge>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream, delay, Arc::clone(gauge)));
    }
}

/// One connection, for as many requests as come. A client that goes away is no failure.
async fn serve(stream: TcpStream, delay: Duration, gauge: Arc<Gauge>) {
    let service = service_fn(|request: Request<Incoming>| {
        let guard = gauge.enter();
        async move {
            let _guard = guard;
            sleep(delay).await;
            answer(request.uri().path())
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn answer(path: &str) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let number = path.trim_start_matches('/').parse().ok();
    let response = Response::builder();
    match number {
        None => response.status(StatusCode::NOT_FOUND).body(Full::default()),
        Some(number) if is_busy_for(number) => {
            response.status(StatusCode::SERVICE_UNAVAILABLE).body(Full::from("busy"))
        }
        Some(number) => {
            let body = body(number);
            response.header(CHECKSUM, checksum(path, &body)).body(Full::from(body))
        }
    }
}

/// From 1 to 16 KiB, different for each number.
fn body(number: u32) -> Vec<u8> {
    let line = format!("{number:015}\n");
    line.repeat(64 * (1 + number as usize % 16)).into_bytes()
}

/// How many requests there are, and the most there have been.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    fn enter(self: &Arc<Self>) -> Inside {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Inside(Arc::clone(self))
    }
}

struct Inside(Arc<Gauge>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}
