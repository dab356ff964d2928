//! From `Waker::wake` to `notify`: at most one notification per poll, none lost, none too many.

use std::sync::atomic::{AtomicU8, Ordering};

/// Nobody is going to poll; a wake must notify.
const IDLE: u8 = 0;
/// A poll is certain to come; a wake adds nothing.
const SCHEDULED: u8 = 1;
/// Being polled; a wake must be remembered.
const POLLING: u8 = 2;
/// Being polled, and woken meanwhile.
const WOKEN: u8 = 3;
/// Ended; wakes mean nothing.
const DONE: u8 = 4;

/// The scheduling state of one execution. Starts as `SCHEDULED`: whoever makes an execution polls it.
#[derive(Debug)]
pub struct WakeState(AtomicU8);

impl WakeState {
    pub fn new() -> WakeState {
        WakeState(AtomicU8::new(SCHEDULED))
    }

    /// A wake-up from any thread; true when the host has to be notified.
    pub fn wake(&self) -> bool {
        let previous =
            self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| match state {
                IDLE => Some(SCHEDULED),
                POLLING => Some(WOKEN),
                _ => None,
            });
        previous == Ok(IDLE)
    }

    /// Before a poll; false once the execution has ended.
    pub fn begin_poll(&self) -> bool {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (state != DONE).then_some(POLLING)
            })
            .is_ok()
    }

    /// After a poll that waits for something; false when it was woken meanwhile and has to be polled
    /// again without a notification.
    pub fn end_waiting(&self) -> bool {
        let parked = self.0.compare_exchange(POLLING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if parked.is_err() {
            self.end_yielded();
        }
        parked.is_ok()
    }

    /// After a poll that will be repeated in any case.
    pub fn end_yielded(&self) {
        self.0.store(SCHEDULED, Ordering::Release);
    }

    /// Ended for good.
    pub fn finish(&self) {
        self.0.store(DONE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::WakeState;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_fresh_execution_is_not_notified_because_its_maker_polls_it() {
        assert!(!WakeState::new().wake());
    }

    #[test]
    fn a_parked_execution_is_notified_once_however_often_it_is_woken() {
        let state = WakeState::new();
        assert!(state.begin_poll());
        assert!(state.end_waiting());
        assert!(state.wake());
        assert!(!state.wake());
        assert!(!state.wake());
    }

    #[test]
    fn a_wake_during_the_poll_asks_for_another_poll_instead_of_a_notification() {
        let state = WakeState::new();
        state.begin_poll();
        assert!(!state.wake());
        assert!(!state.end_waiting());
        assert!(!state.wake(), "the poll to come covers this one");
        state.begin_poll();
        assert!(state.end_waiting());
    }

    #[test]
    fn a_yielded_execution_needs_no_notification() {
        let state = WakeState::new();
        state.begin_poll();
        state.end_yielded();
        assert!(!state.wake());
    }

    #[test]
    fn a_spurious_poll_of_a_parked_execution_is_fine() {
        let state = WakeState::new();
        state.begin_poll();
        assert!(state.end_waiting());
        assert!(state.begin_poll());
        assert!(state.end_waiting());
        assert!(state.wake());
    }

    #[test]
    fn nothing_happens_after_the_end() {
        let state = WakeState::new();
        state.begin_poll();
        state.finish();
        assert!(!state.wake());
        assert!(!state.begin_poll());
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        let state = Arc::new(WakeState::new());
        let pending = Arc::new(AtomicU32::new(0));
        const WAKES: u32 = 20_000;
        let waker = {
            let (state, pending) = (state.clone(), pending.clone());
            let (sender, receiver) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                for _ in 0..WAKES {
                    pending.fetch_add(1, Ordering::SeqCst);
                    if state.wake() {
                        sender.send(()).expect("the poller waits");
                    }
                }
            });
            (thread, receiver)
        };
        let mut seen = 0;
        while seen < WAKES {
            assert!(state.begin_poll());
            seen += pending.swap(0, Ordering::SeqCst);
            if seen < WAKES && state.end_waiting() {
                waker.1.recv().expect("every parked poll is followed by a wake");
            }
        }
        waker.0.join().expect("the waker ends");
    }
}
