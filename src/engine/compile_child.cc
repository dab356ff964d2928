#include "engine/compile_child.h"

#include <string>
#include <string_view>
#include <vector>

namespace alga::engine {
namespace {

/// Why no artefact came of it. A worker that could say it wrote a line `code: message`.
Error reason(const ChildOutcome& outcome) {
  if (outcome.stopped) {
    return {Kind::unavailable, "engine.unavailable", "the server is stopping",
            retry_after_interrupted_s};
  }
  if (outcome.interrupted()) {
    return {Kind::unavailable, "engine.unavailable",
            outcome.timed_out ? "compiling did not get on in time: the machine is busy"
                              : "the compile process was killed: memory may be short",
            retry_after_interrupted_s};
  }
  if (outcome.spent && outcome.exit_status < 0) {
    return {Kind::invalid, "engine.compile_too_expensive", "compiling took too long"};
  }
  if (outcome.signal != 0) {
    return {Kind::invalid, "engine.compile_too_expensive",
            "compiling exceeded its limits (signal " + std::to_string(outcome.signal) + ")"};
  }
  Error error{Kind::invalid, "engine.bad_component", "the component cannot be compiled"};
  std::string_view line = std::string_view(outcome.errors).substr(0, outcome.errors.find('\n'));
  std::size_t colon = line.find(": ");
  if (colon == std::string_view::npos) return error;
  error.message = std::string(line.substr(colon + 2));
  std::string_view code = line.substr(0, colon);
  if (code == "engine.link_error") error.code = "engine.link_error";
  if (code == "engine.unavailable" || code == "engine.cache_io") {
    error.kind = Kind::unavailable;
    error.code = "engine.unavailable";
  }
  return error;
}

}  // namespace

Status compile_component(const std::filesystem::path& self, const File& input, const File& output,
                         const CompileBounds& bounds, const std::stop_token& stop) {
  std::vector<std::string> environment;
  if (bounds.memory != 0) {
    environment.push_back(std::string(compile_memory_variable) + '=' +
                          std::to_string(bounds.memory));
  }
  TRY(ChildOutcome outcome,
      run_child(self, {"compile-worker"}, input.fd(), output.fd(), bounds.time, environment, stop));
  if (outcome.exit_status == 0) return {};
  return fail(reason(outcome));
}

}  // namespace alga::engine
