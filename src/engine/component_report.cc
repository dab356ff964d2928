#include "engine/component_report.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/bytes.h"
#include "engine/bridge.h"
#include "json/decode.h"

namespace alga::engine {
namespace {

using domain::ComponentReport;

Result<std::string> read_all(const File& file, std::uint64_t most) {
  struct stat facts{};
  if (::fstat(file.fd(), &facts) != 0 || static_cast<std::uint64_t>(facts.st_size) > most) {
    return fail(Kind::unprocessable, "component.too_complex", "its description is too large");
  }
  std::string text(static_cast<std::size_t>(facts.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    ssize_t got =
        ::pread(file.fd(), text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return fail(Kind::unavailable, "component.unavailable", "cannot be read");
    done += static_cast<std::size_t>(got);
  }
  return text;
}

std::uint64_t sum(std::vector<json::Object>& objects, std::string_view member) {
  std::uint64_t total = 0;
  for (json::Object& object : objects) {
    auto value = object.integer(member, 0);
    if (value) total += static_cast<std::uint64_t>(*value);
  }
  return total;
}

bool imports_any(const ComponentReport& report, std::string_view prefix) {
  return std::ranges::any_of(report.imports,
                             [&](const std::string& name) { return name.starts_with(prefix); });
}

std::uint64_t largest(std::vector<json::Object>& objects, std::string_view member) {
  std::uint64_t most = 0;
  for (json::Object& object : objects) {
    auto value = object.integer(member, 0);
    if (value) most = std::max(most, static_cast<std::uint64_t>(*value));
  }
  return most;
}

constexpr std::uint64_t kPage = 65'536;

/// What the pool of runners refuses when it loads the artefact, said before anything is compiled.
Result<std::vector<std::string>> beyond_slots(json::Object& root,
                                              std::vector<json::Object>& memories,
                                              std::vector<json::Object>& tables) {
  TRY(std::int64_t instances, root.integer("core_instances", 0));
  TRY(std::int64_t memory_count, root.integer("instantiated_memories", 0));
  TRY(std::int64_t table_count, root.integer("instantiated_tables", 0));
  const ab_engine_config slot = artefact_settings();
  std::vector<std::string> beyond;
  auto hold = [&](std::uint64_t needed, std::string_view what, std::uint64_t most) {
    if (needed > most) beyond.push_back(fmt::format("{} {}; a slot has {}", needed, what, most));
  };
  hold(static_cast<std::uint64_t>(instances), "core instances", slot.core_instances_per_component);
  hold(static_cast<std::uint64_t>(memory_count), "memories", slot.memories_per_component);
  hold(static_cast<std::uint64_t>(table_count), "tables", slot.tables_per_component);
  hold(largest(memories, "initial_pages") * kPage, "bytes of one memory at the start",
       slot.max_memory_bytes);
  hold(largest(tables, "initial"), "elements of one table at the start", slot.max_table_elements);
  return beyond;
}

/// The rule by which Wasmtime gives a memory an image: see `dense_image_max_bytes`.
Result<std::uint64_t> sparse_image(json::Object& root) {
  TRY(std::int64_t span, root.integer("image_span_bytes", 0));
  TRY(std::int64_t data, root.integer("data_bytes", 0));
  const bool dense =
      static_cast<std::uint64_t>(span) <= artefact_settings().dense_image_max_bytes ||
      span / 2 < data;
  return dense ? 0 : static_cast<std::uint64_t>(span);
}

/// Built by componentize-js, which freezes what it leaves out.
bool is_javascript(std::vector<json::Object>& producers) {
  return std::ranges::any_of(producers, [](json::Object& producer) {
    auto name = producer.string("name");
    return name && (iequals(*name, "componentizejs") || iequals(*name, "componentize-js"));
  });
}

}  // namespace

Result<ComponentReport> read_report(std::string_view text) {
  auto read = [&]() -> Result<ComponentReport> {
    TRY(json::Document document,
        json::Document::parse(text, {.max_bytes = std::numeric_limits<std::size_t>::max()}));
    json::Object root = document.root();
    ComponentReport report;
    TRY(std::string kind, root.string("kind"));
    report.kind =
        kind == "module" ? ComponentReport::Kind::core_module : ComponentReport::Kind::component;
    TRY(std::int64_t size, root.integer("size", 0));
    report.file_bytes = static_cast<std::uint64_t>(size);
    TRY(std::vector<json::Object> imports, root.objects("imports"));
    for (json::Object& import : imports) {
      TRY(std::string name, import.string("name"));
      TRY(std::vector<json::Object> functions, import.objects("functions"));
      // A bare name without functions is a type that the world uses; nothing is called through it.
      if (!name.contains(':') && functions.empty()) continue;
      report.imports.push_back(std::move(name));
    }
    TRY(std::vector<json::Object> exports, root.objects("exports"));
    for (json::Object& entry : exports) {
      TRY(std::string name, entry.string("name"));
      TRY(std::string export_kind, entry.string("kind"));
      if (name == "handler" && export_kind == "func") report.exports_handler = true;
      // A core module in its adapter: the bridge calls it as if it were a handler.
      if (name == "alga:legacy/guest@1.0.0") report.exports_handler = true;
      report.exports.push_back(std::move(name));
    }
    TRY(std::vector<json::Object> memories, root.objects("memories"));
    report.minimum_memory_bytes = sum(memories, "initial_pages") * kPage;
    TRY(std::vector<json::Object> tables, root.objects("tables"));
    report.table_elements = sum(tables, "initial");
    TRY(report.beyond_slots, beyond_slots(root, memories, tables));
    TRY(report.sparse_image_bytes, sparse_image(root));
    TRY(std::int64_t modules, root.integer("core_modules", 0));
    report.core_modules = static_cast<std::uint32_t>(modules);
    TRY(std::vector<json::Object> producers, root.objects("producers"));
    if (is_javascript(producers)) {
      report.frozen_clock = !imports_any(report, "wasi:clocks/");
      report.frozen_random = !imports_any(report, "wasi:random/");
    }
    return report;
  };
  auto report = read();
  if (!report) return fail(Kind::invalid, "component.malformed", report.error().message);
  return report;
}

Result<std::string> describe_component(const std::filesystem::path& self, const std::string& file,
                                       std::uint64_t max_bytes, ChildTime time,
                                       std::uint64_t max_report_bytes,
                                       const std::stop_token& stop) {
  File input{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat facts{};
  if (!input.is_open() || ::fstat(input.fd(), &facts) != 0) {
    return fail(Kind::unavailable, "component.unavailable", "the file cannot be read");
  }
  if (static_cast<std::uint64_t>(facts.st_size) > max_bytes) {
    return fail(Kind::too_large, "component.too_large",
                "it has " + std::to_string(facts.st_size) + " bytes; at most " +
                    std::to_string(max_bytes) + " are allowed");
  }
  unsigned char magic[4] = {};
  if (::pread(input.fd(), magic, 4, 0) != 4 || magic[0] != 0 || magic[1] != 'a' ||
      magic[2] != 's' || magic[3] != 'm') {
    return fail(Kind::unprocessable, "component.not_wasm", "it is not a Wasm binary");
  }
  File output{::memfd_create("report", MFD_CLOEXEC)};
  if (!output.is_open()) return fail(Kind::unavailable, "component.unavailable", "out of memory");
  auto outcome = run_child(self, {"inspect-worker"}, input.fd(), output.fd(), time, {}, stop);
  if (!outcome) return fail(Kind::unavailable, "component.unavailable", outcome.error().message);
  if (outcome->stopped) {
    return fail(Error{Kind::unavailable, "component.unavailable", "the server is stopping",
                      retry_after_interrupted_s});
  }
  if (outcome->interrupted()) {
    return fail(Error{Kind::unavailable, "component.unavailable",
                      "looking into it was cut short: the machine is busy or short of memory",
                      retry_after_interrupted_s});
  }
  if (outcome->signal != 0) {
    return fail(Kind::unprocessable, "component.too_complex", "looking into it took too much");
  }
  if (outcome->exit_status != 0) {
    std::string_view line = std::string_view(outcome->errors).substr(0, outcome->errors.find('\n'));
    std::size_t colon = line.find(": ");
    if (line.starts_with("engine.unavailable")) {
      return fail(Kind::unavailable, "component.unavailable", std::string(line));
    }
    return fail(Kind::unprocessable, "component.malformed",
                std::string(colon == std::string_view::npos ? line : line.substr(colon + 2)));
  }
  return read_all(output, max_report_bytes);
}

Result<ComponentReport> inspect_component(const std::filesystem::path& self,
                                          const std::string& file, std::uint64_t max_bytes,
                                          ChildTime time, std::uint64_t max_report_bytes,
                                          const std::stop_token& stop) {
  TRY(std::string text, describe_component(self, file, max_bytes, time, max_report_bytes, stop));
  return read_report(text);
}

}  // namespace alga::engine
