//! On its own: what `run` does, without HTTP, log, evidence files and recording.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use anyhow::Context as _;
use monitor_collector::{host::hardening, kernel::attach, sample::Sampler};
use monitor_verdict::Engine;

use super::TopArgs;
use crate::{
    cli::{flags::KernelArgs, start},
    evidence::Sink,
    guard::Controller,
    pipeline::{tick::Ticker, watch::Watch},
    publish::snapshot::Shared,
};

/// The thread that ticks, and what it leaves.
#[derive(Debug)]
pub struct Own {
    shared: Arc<Shared>,
    /// It ticks until this is gone.
    _stop: mpsc::Sender<()>,
    ticking: JoinHandle<()>,
}

/// Whether it may look at the kernel.
///
/// # Errors
///
/// Names the privilege that is missing.
pub fn may(kernel: &KernelArgs) -> anyhow::Result<()> {
    start::preflight(kernel)
}

impl Own {
    /// Attaches everything and begins to tick.
    ///
    /// # Errors
    ///
    /// What keeps it from starting.
    pub fn start(args: &TopArgs) -> anyhow::Result<Self> {
        let mut attached = attach::attach_all(args.kernel.settings())?;
        let publisher = start::publisher(&attached, args.interval, &args.kernel);
        let shared = publisher.shared();
        // A node that is stuck is what it is for. Without these it goes on, too.
        let _ = hardening::lock_memory();
        let _ = hardening::io_flusher(true);
        let sampler = Sampler::new(&mut attached)?;
        let engine = Engine::new(args.thresholds.thresholds.clone());
        let watch = Watch::new(attached, sampler, engine, None);
        let ticker = Ticker::new(
            watch,
            publisher,
            Sink::memory_only(),
            Controller::default(),
            args.interval,
        );
        let (stop, stopped) = mpsc::channel();
        let ticking = thread::Builder::new()
            .name("tick".into())
            .spawn(move || ticker.run(&stopped))
            .context("the thread that ticks could not be started")?;
        Ok(Self {
            shared,
            _stop: stop,
            ticking,
        })
    }

    /// What the last tick left.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether it ticks no more.
    pub fn is_over(&self) -> bool {
        self.ticking.is_finished()
    }
}
