//! The server that tokio-console connects to, on a thread and a runtime of its own: so it answers
//! whatever the program does.

use std::{net::SocketAddr, sync::mpsc, thread};

use console_subscriber::{ConsoleLayer, Server, ServerParts};
use tonic::transport::server::TcpIncoming;
use tracing::{Level, subscriber::NoSubscriber};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Installs a subscriber for consoles and begins to serve them. Returns the address, whose port the
/// system has chosen if `address` has none.
///
/// `console_subscriber::init()` does all of this in one line, at a fixed port.
pub(crate) fn serve(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    let (layer, server) = ConsoleLayer::builder().build();
    let (send, bound) = mpsc::sync_channel(1);
    thread::Builder::new().name("console".into()).spawn(move || {
        // What the server itself does is not to be shown.
        let _silent = tracing::subscriber::set_default(NoSubscriber::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let incoming = TcpIncoming::bind(address);
            let is_bound = incoming.is_ok();
            let bound =
                incoming.as_ref().map_err(|error| error.kind().into()).and_then(TcpIncoming::local_addr);
            // The program waits for it.
            let _ = send.send(bound);
            if is_bound { answer(server, incoming?).await } else { Ok(()) }
        })
    })?;
    let address = bound.recv()??;
    // The spans of blocking tasks have the target `tokio::task::blocking`, those of the pool too.
    let wanted = Targets::new().with_target("tokio", Level::TRACE).with_target("runtime", Level::TRACE);
    tracing_subscriber::registry().with(layer.with_filter(wanted)).try_init()?;
    Ok(address)
}

async fn answer(server: Server, incoming: TcpIncoming) -> anyhow::Result<()> {
    let ServerParts { instrument_server, aggregator, .. } = server.into_parts();
    let aggregator = tokio::spawn(aggregator.run());
    let router = tonic::transport::Server::builder().add_service(instrument_server);
    let served = router.serve_with_incoming(incoming).await;
    aggregator.abort();
    Ok(served?)
}
