#include "engine/confinement.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <memory>

#include "crypto/process.h"

namespace alga::engine {
namespace {

bool limit(int resource, std::uint64_t most, std::uint64_t beyond = 0) {
  rlimit value{most, most + beyond};
  return ::setrlimit(static_cast<__rlimit_resource>(resource), &value) == 0;
}

/// Calls without any use to a compiler. What is not here is either harmless to others or judged by
/// its arguments below.
constexpr int forbidden[] = {
    // other machines and processes
    SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen),
    SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg),
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(kill),
    SCMP_SYS(tkill), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise), SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(prlimit64), SCMP_SYS(shmget), SCMP_SYS(shmat), SCMP_SYS(msgget), SCMP_SYS(semget),
    SCMP_SYS(mq_open),
    // files: none is made, changed or removed
    SCMP_SYS(creat), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(mknod), SCMP_SYS(mknodat),
    SCMP_SYS(link), SCMP_SYS(linkat), SCMP_SYS(symlink), SCMP_SYS(symlinkat), SCMP_SYS(unlink),
    SCMP_SYS(unlinkat), SCMP_SYS(rmdir), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2),
    SCMP_SYS(truncate), SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(chown),
    SCMP_SYS(fchown), SCMP_SYS(lchown), SCMP_SYS(fchownat), SCMP_SYS(setxattr), SCMP_SYS(lsetxattr),
    SCMP_SYS(fsetxattr), SCMP_SYS(removexattr), SCMP_SYS(lremovexattr), SCMP_SYS(fremovexattr),
    SCMP_SYS(utimensat), SCMP_SYS(utimes), SCMP_SYS(utime), SCMP_SYS(futimesat),
    SCMP_SYS(open_by_handle_at), SCMP_SYS(name_to_handle_at), SCMP_SYS(inotify_init),
    SCMP_SYS(inotify_init1), SCMP_SYS(fanotify_init),
    // the machine and what would widen its rights again
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(unshare),
    SCMP_SYS(setns), SCMP_SYS(open_tree), SCMP_SYS(move_mount), SCMP_SYS(fsopen), SCMP_SYS(fsmount),
    SCMP_SYS(mount_setattr), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(reboot),
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime), SCMP_SYS(adjtimex), SCMP_SYS(sethostname), SCMP_SYS(setdomainname),
    SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(syslog),
    SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(add_key), SCMP_SYS(request_key),
    SCMP_SYS(keyctl), SCMP_SYS(personality), SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid),
    SCMP_SYS(setregid), SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setgroups),
    SCMP_SYS(capset)};

struct Release {
  void operator()(void* filter) const { ::seccomp_release(filter); }
};

// The comparison macros of libseccomp are C99 compound literals.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc99-extensions"

/// An open that could write, make or cut a file; `flags` is the position of that argument.
bool forbid_writing_opens(scmp_filter_ctx filter, int call, unsigned flags) {
  const auto when = [&](int mask, int value) {
    const scmp_arg_cmp compared =
        SCMP_CMP(flags, SCMP_CMP_MASKED_EQ, static_cast<scmp_datum_t>(mask),
                 static_cast<scmp_datum_t>(value));
    return ::seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), call, 1, &compared) == 0;
  };
  // The bit of O_TMPFILE that is not O_DIRECTORY.
  constexpr int unnamed = O_TMPFILE & ~O_DIRECTORY;
  return when(O_ACCMODE, O_WRONLY) && when(O_ACCMODE, O_RDWR) && when(O_ACCMODE, O_ACCMODE) &&
         when(O_CREAT, O_CREAT) && when(O_TRUNC, O_TRUNC) && when(unnamed, unnamed);
}

bool forbid_the_world() {
  const std::unique_ptr<void, Release> filter(::seccomp_init(SCMP_ACT_ALLOW));
  if (!filter) return false;
  for (const int call : forbidden) {
    if (::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), call, 0) != 0) return false;
  }
  // Their arguments lie in memory, where a filter cannot look; the C library then uses the older
  // call.
  for (const int call : {SCMP_SYS(openat2), SCMP_SYS(clone3)}) {
    if (::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), call, 0) != 0) return false;
  }
  // Threads, not processes.
  const scmp_arg_cmp process = SCMP_CMP(0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
  return ::seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                  &process) == 0 &&
         forbid_writing_opens(filter.get(), SCMP_SYS(open), 1) &&
         forbid_writing_opens(filter.get(), SCMP_SYS(openat), 2) &&
         ::seccomp_load(filter.get()) == 0;
}
#pragma clang diagnostic pop

}  // namespace

// The kernel sends SIGXCPU at the lower bound of processor time and only kills at the upper one: a
// process that ended by SIGKILL was killed by somebody else.
bool confine_worker(const WorkerBounds& bounds) {
  return crypto::harden_process() && ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
         (bounds.address_space == 0 || limit(RLIMIT_AS, bounds.address_space)) &&
         limit(RLIMIT_CPU, bounds.cpu_s, 1) && limit(RLIMIT_FSIZE, bounds.file_bytes) &&
         ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && forbid_the_world();
}

}  // namespace alga::engine
