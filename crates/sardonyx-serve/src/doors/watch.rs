//! Files that are read again when they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;

/// Something made from files that can be made again.
pub(super) trait Reload: Send + Sync + 'static {
    /// The files.
    fn files(&self) -> Vec<PathBuf>;
    /// Reads them again. What was there stays when they are wrong.
    ///
    /// # Errors
    /// What is wrong with them.
    fn reload(&self) -> Result<()>;
}

/// Reloads `what` when the bytes of its files have changed, looking every `period`, until it is
/// dropped elsewhere. `report` hears of every reload.
///
/// Contents are compared, not times: mounted secrets are swapped by links whose times say little,
/// and such files are small.
pub(super) async fn watch<R: Reload>(
    what: std::sync::Weak<R>,
    period: Duration,
    report: impl Fn(&Result<()>) + Send + 'static,
) {
    let mut seen: Option<Vec<Option<Vec<u8>>>> = None;
    loop {
        let Some(strong) = what.upgrade() else {
            return;
        };
        let looked = tokio::task::spawn_blocking({
            let what = Arc::clone(&strong);
            move || {
                what.files()
                    .iter()
                    .map(|file| std::fs::read(file).ok())
                    .collect()
            }
        });
        if let Ok(now) = looked.await {
            let is_new = seen.as_ref().is_some_and(|seen| *seen != now);
            seen = Some(now);
            if is_new {
                report(&strong.reload());
            }
        }
        drop(strong);
        tokio::time::sleep(period).await;
    }
}
