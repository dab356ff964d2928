//! What the kernel refuses is the machine's failure and never the guest's. The limit that is used up
//! is that of the whole process, hence a file of its own with one test.

mod host;

use alga_bridge::abi::*;
use host::guests::{ECHO, V1, guest, plain};
use host::{Ended, Engine, Run};

const PAGE: usize = 4096;

/// Takes every mapping that the process may still make; gives them back when dropped.
struct NoMoreMappings {
    at: *mut libc::c_void,
    bytes: usize,
}

unsafe impl Send for NoMoreMappings {}

impl NoMoreMappings {
    fn new() -> NoMoreMappings {
        let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("procfs");
        let most: usize = most.trim().parse().expect("a number");
        let bytes = 2 * (most + 1) * PAGE;
        // SAFETY: a new mapping, whose pages nobody else knows.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let at = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED, "address space");
            // Each page that differs from its neighbours is a mapping of its own.
            let taken = (0..=most)
                .take_while(|i| libc::mprotect(at.add(2 * i * PAGE), PAGE, libc::PROT_READ) == 0)
                .count();
            assert!(taken <= most, "the kernel keeps its bound on mappings");
            NoMoreMappings { at, bytes }
        }
    }
}

impl Drop for NoMoreMappings {
    fn drop(&mut self) {
        // SAFETY: made in `new`; nothing refers to it.
        unsafe { libc::munmap(self.at, self.bytes) };
    }
}

fn assert_machines_failure(ended: &Ended) {
    assert_eq!(ended.end, AbEnd::Internal, "{ended:?}");
    assert!(ended.message.contains("refused by the machine"), "{ended:?}");
    assert!(ended.message.contains("os error 12"), "what it says: {ended:?}");
}

#[test]
fn an_instance_that_the_machine_cannot_make_is_no_fault_of_the_guest() {
    let engine = Engine::new();
    let echo = engine.load(&plain(ECHO));
    let traps = engine.load(&guest(V1, &[], "(func $t unreachable) (start $t)", ECHO));
    let artefact = engine.precompile(&plain(ECHO)).expect("compiles");
    let none = NoMoreMappings::new();
    assert_machines_failure(&Run::get("/").finish(&echo));
    let (status, message) = engine.load_artefact(&artefact).err().expect("no room to map it");
    assert_eq!(status, AbStatus::Io, "what is no other engine's is not compiled again: {message}");
    drop(none);
    assert!(engine.load_artefact(&artefact).is_ok(), "when there are mappings again");
    assert_eq!(Run::get("/").finish(&echo).end, AbEnd::Ok, "when there are mappings again");
    assert_eq!(Run::get("/").finish(&traps).end, AbEnd::GuestTrap, "one that ends by itself");
}
