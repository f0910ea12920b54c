//! What ends a server: a future that its owner gives, such as the signals of the system.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::host::{Event, Report};

/// Heeds `stop` from here on: it was polled once before this returns, so that a signal finds its
/// handler before anybody can know of the server. When it ends, the ports close, though models may
/// still be loading.
pub(crate) fn heed(
    runtime: &Runtime,
    stop: impl Future<Output = ()> + Send + 'static,
    report: Report,
    stopping: Arc<watch::Sender<bool>>,
) -> tokio::task::JoinHandle<()> {
    let (begun, has_begun) = oneshot::channel();
    let heeding = runtime.spawn(async move {
        let (mut stop, mut begun) = (pin!(stop), Some(begun));
        poll_fn(|context| {
            let polled = stop.as_mut().poll(context);
            // It is waited for below, unless the runtime is gone.
            begun.take().map(|begun| begun.send(()));
            polled
        })
        .await;
        report(Event::Stopping);
        stopping.send_replace(true);
    });
    // A future that panics at once has not begun, and never ends.
    let _ = runtime.block_on(has_begun);
    heeding
}

/// Ends when the process is told to: SIGTERM or SIGINT. From then on a second signal ends the
/// process at once, with the exit code that shells give for it. Run it on the server's runtime.
pub async fn stop_signal() {
    let (term, int) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut term), Ok(mut int)) = (term, int) else {
        // Without handlers the system's own way to end stays.
        return std::future::pending().await;
    };
    either(&mut term, &mut int).await;
    tokio::spawn(async move {
        let number = either(&mut term, &mut int).await;
        #[expect(clippy::exit, reason = "whoever asks twice does not want to wait")]
        std::process::exit(128 + number);
    });
}

/// The number of the signal that comes next.
async fn either(term: &mut Signal, int: &mut Signal) -> i32 {
    tokio::select! {
        _ = term.recv() => SignalKind::terminate().as_raw_value(),
        _ = int.recv() => SignalKind::interrupt().as_raw_value(),
    }
}
