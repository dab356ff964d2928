//! WASI 0.2 for guests: live but coarse clocks, live random, captured standard streams; no
//! environment, no arguments, no files, no sockets.

use crate::guest::Shared;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

/// Resolution of both clocks: fine enough for programs, too coarse for timing attacks on neighbours.
const CLOCK_STEP: Duration = Duration::from_millis(1);

/// Largest piece of random data or output handed over at once.
const MAX_RANDOM_BYTES: u64 = 1 << 20;
const WRITE_PERMIT: usize = 64 << 10;

/// The WASI context of one execution.
pub fn context(shared: &Arc<Shared>) -> WasiCtx {
    let stream = |fd| Capture { fd, shared: shared.clone() };
    WasiCtx::builder()
        .stdout(stream(1))
        .stderr(stream(2))
        .wall_clock(CoarseWall)
        .monotonic_clock(CoarseMonotonic(Instant::now()))
        .max_random_size(MAX_RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .socket_addr_check(|_, _| Box::pin(async { false }))
        .build()
}

struct CoarseWall;

impl HostWallClock for CoarseWall {
    fn resolution(&self) -> Duration {
        CLOCK_STEP
    }

    fn now(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Duration::from_millis(now.as_millis() as u64)
    }
}

/// Counts from the start of the execution, so that it says nothing about the server.
struct CoarseMonotonic(Instant);

impl HostMonotonicClock for CoarseMonotonic {
    fn resolution(&self) -> u64 {
        CLOCK_STEP.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        let step = CLOCK_STEP.as_nanos() as u64;
        self.0.elapsed().as_nanos() as u64 / step * step
    }
}

/// Standard output or error, handed to the host as it is written.
#[derive(Clone)]
struct Capture {
    fd: i32,
    shared: Arc<Shared>,
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink()) // WASI 0.3 only, which is not linked
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.shared.stdio(self.fd, &bytes).map_err(|stop| StreamError::Trap(stop.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::{CLOCK_STEP, CoarseMonotonic, CoarseWall};
    use std::time::Instant;
    use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

    #[test]
    fn clocks_show_whole_milliseconds_only() {
        assert_eq!(CoarseWall.now().subsec_nanos() % 1_000_000, 0);
        let clock = CoarseMonotonic(Instant::now() - CLOCK_STEP * 3 / 2);
        assert_eq!(clock.now() % 1_000_000, 0);
        assert!(clock.now() >= 1_000_000);
    }
}
