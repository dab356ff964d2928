//! Limits of one execution, and the errors with which they end it.

use crate::abi::AbLimits;
use crate::error::is_of_the_machine;
use std::fmt;
use wasmtime::ResourceLimiter;

/// Why the bridge itself ended an execution. Travels through Wasmtime as the cause of the trap, so
/// that a limit is never mistaken for a failure of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All linear memories together would exceed `limit` bytes.
    Memory { wanted: u64, limit: u64 },
    /// All tables together would exceed `limit` elements.
    Table { wanted: u64, limit: u64 },
    /// Too many or too large headers, or too large a body, in the answer.
    Response { limit: &'static str, reason: String },
    /// More bytes handed to the host than `limit`.
    HostBytes { wanted: u64, limit: u64 },
    /// A callback or `ab_call_abort`.
    Host(String),
    /// The kernel refused what the guest was entitled to: memory, mappings.
    Machine(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Memory { wanted, limit } => {
                write!(f, "memory limit: {wanted} bytes wanted, {limit} allowed")
            }
            Stop::Table { wanted, limit } => {
                write!(f, "table limit: {wanted} elements wanted, {limit} allowed")
            }
            Stop::Response { reason, .. } => write!(f, "response limit: {reason}"),
            Stop::HostBytes { wanted, limit } => {
                write!(f, "host call limit: {wanted} bytes handed over, {limit} allowed")
            }
            Stop::Host(reason) => write!(f, "ended by the host: {reason}"),
            Stop::Machine(reason) => write!(f, "refused by the machine: {reason}"),
        }
    }
}

impl std::error::Error for Stop {}

/// Counts one resource over all its instances.
#[derive(Debug)]
struct Meter {
    limit: u64,
    used: u64,
    peak: u64,
    last_growth: u64,
    denied: bool,
}

impl Meter {
    fn new(limit: u64) -> Meter {
        Meter { limit, used: 0, peak: 0, last_growth: 0, denied: false }
    }

    /// Grows one instance; on refusal returns the total that was wanted.
    fn grow(&mut self, current: usize, desired: usize, ceiling: u64) -> Result<(), u64> {
        let growth = (desired as u64).saturating_sub(current as u64);
        let wanted = self.used.saturating_add(growth);
        if wanted > self.limit || desired as u64 > ceiling {
            self.denied = true;
            return Err(wanted);
        }
        self.used = wanted;
        self.last_growth = growth;
        Ok(())
    }

    /// The growth just allowed did not happen (the guest's own maximum, or the system refused).
    fn undo(&mut self) {
        self.used -= std::mem::take(&mut self.last_growth);
    }

    fn settle(&mut self) {
        self.peak = self.peak.max(self.used);
    }
}

/// Memory and tables of one execution, each over all its instances.
#[derive(Debug)]
pub struct Limiter {
    memory: Meter,
    tables: Meter,
    memory_ceiling: u64,
}

impl Limiter {
    /// `memory_ceiling` bounds a single memory: what a slot of the pool can hold.
    pub fn new(limits: &AbLimits, memory_ceiling: u64) -> Limiter {
        Limiter {
            memory: Meter::new(limits.memory_bytes),
            tables: Meter::new(limits.table_elements.into()),
            memory_ceiling,
        }
    }

    pub fn peak_memory(&mut self) -> u64 {
        self.memory.settle();
        self.memory.peak
    }

    pub fn peak_tables(&mut self) -> u64 {
        self.tables.settle();
        self.tables.peak
    }

    pub fn memory_denied(&self) -> bool {
        self.memory.denied
    }

    pub fn table_denied(&self) -> bool {
        self.tables.denied
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.memory.settle();
        match self.memory.grow(current, desired, self.memory_ceiling) {
            Ok(()) => Ok(true),
            Err(wanted) => {
                Err(Stop::Memory { wanted, limit: self.memory.limit.min(self.memory_ceiling) }
                    .into())
            }
        }
    }

    /// Beyond the guest's own maximum it is told so; for what the kernel refuses it is not to blame.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.undo();
        if is_of_the_machine(&error) {
            return Err(Stop::Machine(error.root_cause().to_string()).into());
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.tables.settle();
        match self.tables.grow(current, desired, u64::MAX) {
            Ok(()) => Ok(true),
            Err(wanted) => Err(Stop::Table { wanted, limit: self.tables.limit }.into()),
        }
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables.undo();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Limiter, Stop};
    use crate::abi::AbLimits;
    use wasmtime::ResourceLimiter;

    fn limiter(memory_bytes: u64, ceiling: u64) -> Limiter {
        let limits = AbLimits {
            memory_bytes,
            table_elements: 10,
            resource_handles: 0,
            host_call_bytes: 0,
            response_bytes: 0,
            response_headers: 0,
            response_header_bytes: 0,
        };
        Limiter::new(&limits, ceiling)
    }

    #[test]
    fn all_memories_count_together() {
        let mut limiter = limiter(100, 1000);
        assert!(limiter.memory_growing(0, 60, None).expect("first"));
        let error = limiter.memory_growing(0, 60, None).expect_err("second");
        assert_eq!(error.downcast_ref(), Some(&Stop::Memory { wanted: 120, limit: 100 }));
        assert!(limiter.memory_denied());
        assert_eq!(limiter.peak_memory(), 60);
    }

    #[test]
    fn a_growth_that_failed_is_given_back_and_is_no_peak() {
        let mut limiter = limiter(100, 1000);
        limiter.memory_growing(0, 50, None).expect("initial");
        limiter.memory_growing(50, 90, Some(60)).expect("allowed by us");
        limiter.memory_grow_failed(wasmtime::Error::msg("own maximum")).expect("noted");
        assert_eq!(limiter.peak_memory(), 50);
        assert!(limiter.memory_growing(50, 100, None).expect("still fits"));
    }

    #[test]
    fn what_the_kernel_refuses_is_no_fault_of_the_guest() {
        let mut limiter = limiter(100, 1000);
        limiter.memory_growing(0, 50, None).expect("allowed by us");
        let refused = std::io::Error::from_raw_os_error(libc::ENOMEM);
        let error = limiter.memory_grow_failed(refused.into()).expect_err("ended");
        let stop = error.downcast_ref();
        assert!(
            matches!(stop, Some(Stop::Machine(reason)) if reason.contains("memory")),
            "{error}"
        );
        assert_eq!(limiter.peak_memory(), 0);
    }

    #[test]
    fn the_slot_of_the_pool_bounds_one_memory() {
        assert!(limiter(u64::MAX, 70).memory_growing(0, 71, None).is_err());
    }

    #[test]
    fn all_tables_count_together() {
        let mut limiter = limiter(0, 0);
        assert!(limiter.table_growing(0, 10, None).expect("first"));
        assert!(limiter.table_growing(0, 1, None).is_err());
        assert!(limiter.table_denied());
        assert_eq!(limiter.peak_tables(), 10);
    }

    #[test]
    fn a_limit_of_nothing_allows_nothing() {
        assert!(limiter(0, 1000).memory_growing(0, 1, None).is_err());
        assert!(limiter(0, 1000).memory_growing(0, 0, None).expect("empty memory"));
    }
}
