// The worker processes: they alone touch untrusted component bytes with a parser or a compiler.

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/bridge.h"
#include "engine/child_process.h"
#include "engine/confinement.h"
#include "engine/engine.h"

namespace alga::engine {
namespace {

constexpr std::uint64_t most_file_bytes = std::uint64_t{2} << 30U;

/// The number that whoever started this process put there; 0: none.
std::uint64_t asked(std::string_view variable) {
  const char* text = std::getenv(variable.data());
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 0;
}

bool confine() {
  constexpr std::uint64_t default_cpu_s = 180;
  const std::uint64_t cpu_s = asked(worker_cpu_variable);
  WorkerBounds bounds{.cpu_s = cpu_s != 0 ? cpu_s : default_cpu_s, .file_bytes = most_file_bytes};
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  constexpr std::uint64_t default_memory = std::uint64_t{6} << 30U;
  const std::uint64_t memory = asked(compile_memory_variable);
  bounds.address_space = memory != 0 ? memory : default_memory;
#endif
  constexpr int below_the_server = 10;
  (void)::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + below_the_server);
  return confine_worker(bounds);
}

int complain(std::string_view code, std::string_view message) {
  std::fprintf(stderr, "%.*s: %.*s\n", static_cast<int>(code.size()), code.data(),
               static_cast<int>(message.size()), message.data());
  return 1;
}

struct Mapping {
  ab_view bytes{nullptr, 0};
  ~Mapping() {
    if (bytes.data != nullptr) ::munmap(const_cast<std::uint8_t*>(bytes.data), bytes.len);
  }
};

bool map_input(Mapping& mapping) {
  struct stat facts{};
  if (::fstat(0, &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size <= 0) return false;
  auto size = static_cast<std::size_t>(facts.st_size);
  void* at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, 0, 0);
  if (at == MAP_FAILED) return false;
  mapping.bytes = {static_cast<const std::uint8_t*>(at), size};
  return true;
}

int write_output(const ab_owned& out) {
  std::size_t done = 0;
  while (done < out.len) {
    ssize_t wrote = ::write(1, out.data + done, out.len - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return complain("engine.cache_io", "the output cannot be written");
    done += static_cast<std::size_t>(wrote);
  }
  if (out.release != nullptr) out.release(out.ctx);
  return 0;
}

template <class Work>
int run_confined(Work work) {
  if (!confine()) return complain("engine.unavailable", "the worker cannot be confined");
  Mapping input;
  if (!map_input(input)) return complain("engine.bad_component", "the file is empty or unreadable");
  ab_owned out{};
  Status done = work(input.bytes, out);
  if (!done) return complain(done.error().code, done.error().message);
  return write_output(out);
}

/// Version 1 of the binary format, layer 0; components have layer 1.
bool is_core_module(ab_view wasm) {
  constexpr std::array<std::uint8_t, 8> head{0x00, 0x61, 0x73, 0x6D, 0x01, 0x00, 0x00, 0x00};
  return wasm.len >= head.size() && std::equal(head.begin(), head.end(), wasm.data);
}

Status precompile(ab_view component, ab_owned& out) {
  TRY(EngineHandle engine, compile_engine());
  ab_error* error = nullptr;
  ab_status status = ab_precompile(engine.get(), component, &out, &error);
  if (status != AB_OK) return bridge_error(status, error);
  return {};
}

/// A module of the legacy ABI runs inside an adapter; whether it may be here at all, publishing
/// has decided.
Status precompile_legacy(ab_view module, ab_owned& out) {
  ab_owned component{};
  ab_error* error = nullptr;
  ab_status status = ab_adapt_legacy(module, &component, &error);
  if (status != AB_OK) return bridge_error(status, error);
  Status done = precompile({component.data, component.len}, out);
  if (component.release != nullptr) component.release(component.ctx);
  return done;
}

}  // namespace

int compile_worker_main() {
  return run_confined([](ab_view wasm, ab_owned& out) {
    return is_core_module(wasm) ? precompile_legacy(wasm, out) : precompile(wasm, out);
  });
}

int inspect_worker_main() {
  return run_confined([](ab_view wasm, ab_owned& out) -> Status {
    ab_error* error = nullptr;
    ab_status status = ab_describe(wasm, &out, &error);
    if (status != AB_OK) return bridge_error(status, error);
    return {};
  });
}

}  // namespace alga::engine
