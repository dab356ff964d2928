// smoke, inspect and compile: one component on the bench.

#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <optional>
#include <utility>
#include <vector>

#include "app/commands.h"
#include "app/input_file.h"
#include "base/metrics.h"
#include "crypto/digest.h"
#include "domain/capability.h"
#include "domain/component_import.h"
#include "engine/compile_child.h"
#include "engine/component_report.h"
#include "engine/engine.h"
#include "json/parse.h"

namespace alga::app {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view self = "/proc/self/exe";
constexpr std::chrono::minutes patience{5};

int complain(const Error& error) {
  std::fprintf(stderr, "error: %s: %s\n", std::string(error.code).c_str(), error.message.c_str());
  return 1;
}

/// A folder that goes when we do.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "algad-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// Shows what the guest logs.
class PrintedRecords final : public domain::RecordSink {
 public:
  void execution(domain::ExecutionRecord) noexcept override {}
  void guest_log(domain::GuestLogLine line) noexcept override {
    std::fprintf(stderr, "guest %s: %s\n", line.stream.c_str(), line.message.c_str());
  }
  void capability(domain::CapabilityEvent event) noexcept override {
    std::fprintf(stderr, "guest %s: %s (%s)\n", event.kind.c_str(), event.target.c_str(),
                 event.reason.c_str());
  }
};

/// Of a text that is one.
template <class Value>
Value made_of(std::string_view text) {
  std::optional<Value> value = Value::parse(text);
  if (!value) std::abort();
  return *std::move(value);
}

Result<ContentHash> hash_file(const std::string& path) {
  TRY(const int fd, open_component_file(path));
  const engine::File file{fd};
  crypto::Sha256 hash;
  std::vector<std::uint8_t> buffer(1U << 20U);
  while (true) {
    ssize_t got = ::read(file.fd(), buffer.data(), buffer.size());
    if (got < 0) return fail(Kind::invalid, "component.unavailable", path + " cannot be read");
    if (got == 0) break;
    hash.update(ByteSpan{buffer.data(), static_cast<std::size_t>(got)});
  }
  return made_of<ContentHash>(hash.finish_hex());
}

engine::Invocation smoke_invocation(const ContentHash& hash, const std::string& path) {
  auto tenant = made_of<TenantId>("smoke-tenant");
  auto extension = made_of<ExtensionId>("smoke-extension");
  domain::ExecuteRequest request{
      .request_id = "smoke-request",
      .tenant = tenant,
      .extension = extension,
      .install = InstallId::parse("smoke-install"),
      .version = VersionId::parse("smoke-version"),
      .content_hash = hash,
      .config = {},
      .http = {"GET", path, {{"accept", "application/json"}}, std::nullopt}};
  engine::Invocation invocation{
      .who = {tenant.str(), extension.str(), "smoke-install", "smoke-version", "smoke-request", ""},
      .tenant = tenant,
      .install = request.install,
      .request = std::move(request)};
  invocation.capabilities = domain::default_capabilities();
  invocation.limits = domain::effective_limits({}, {}, {});
  return invocation;
}

}  // namespace

int smoke(const std::string& component, const std::string& path) {
  auto hash = hash_file(component);
  if (!hash) return complain(hash.error());
  TemporaryFolder folder;
  SystemClock clock;
  SystemRandom random;
  NoMetrics metrics;
  PrintedRecords records;
  auto key = std::make_shared<const crypto::SigningKey>(crypto::SigningKey::generate());
  engine::Options options;
  options.cache = folder.path();
  options.trusted_keys = {key->public_key()};
  options.compile_key = std::move(key);
  options.max_executions = 4;
  auto engine = engine::Engine::create(
      std::move(options),
      {.records = &records, .clock = &clock, .random = &random, .metrics = &metrics});
  if (!engine) return complain(engine.error());

  // Shared with callbacks that may come after we have stopped waiting.
  auto loaded = std::make_shared<std::promise<Result<std::shared_ptr<engine::Component>>>>();
  auto ready = loaded->get_future();
  (*engine)->load(*hash, fs::absolute(component), nullptr, {},
                  [loaded](auto outcome) { loaded->set_value(std::move(outcome)); });
  if (ready.wait_for(patience) != std::future_status::ready) {
    return complain({Kind::timeout, "engine.unavailable", "the component was not ready in time"});
  }
  auto made = ready.get();
  if (!made) return complain(made.error());

  auto ended = std::make_shared<std::promise<engine::Outcome>>();
  auto answer = ended->get_future();
  (*engine)->run(*made, smoke_invocation(*hash, path),
                 [ended](engine::Outcome outcome) { ended->set_value(std::move(outcome)); });
  engine::Outcome outcome = answer.get();
  (*engine)->stop(clock.steady() + std::chrono::seconds{5});
  if (outcome.end != domain::EndClass::ok) {
    std::fprintf(stderr, "error: %s: %s\n%s%s", std::string(info(outcome.end).code).c_str(),
                 outcome.message.c_str(), outcome.backtrace.c_str(),
                 outcome.backtrace.empty() ? "" : "\n");
    return 1;
  }
  const std::string body = outcome.response.body.value_or("");
  std::printf("status %u, instantiated in %llu us, ran %llu us, peak memory %llu bytes\n%s\n",
              unsigned{outcome.response.status},
              static_cast<unsigned long long>(outcome.instantiate_us),
              static_cast<unsigned long long>(outcome.call_us),
              static_cast<unsigned long long>(outcome.peak_memory_bytes), body.c_str());
  if (outcome.response.status != 200) {
    return complain({Kind::invalid, "smoke.bad_status", "the handler did not answer with 200"});
  }
  if (!json::parse(body)) {
    return complain({Kind::invalid, "smoke.not_json", "the answer's body is not JSON"});
  }
  return 0;
}

namespace {

struct Warning {
  std::string_view code;
  std::string message;
};

/// What publishing would say, or refuse. The codes are those of publishing.
std::vector<Warning> warnings_of(const domain::ComponentReport& report) {
  if (report.kind == domain::ComponentReport::Kind::core_module) {
    return {{"component.core_module",
             "a core module of the earlier system is refused, unless "
             "publishing.legacy_modules_until is in force"}};
  }
  std::vector<Warning> warnings;
  if (!report.exports_handler) {
    warnings.push_back({"component.no_handler", "it does not export `handler`"});
  }
  for (const std::string& name : report.imports) {
    const domain::ImportStanding standing = domain::standing_of_import(name);
    if (standing == domain::ImportStanding::offered) continue;
    const bool known = standing == domain::ImportStanding::other_version;
    warnings.push_back(
        {"component.unknown_import", "it imports " + name + ", which this server " +
                                         (known ? "offers in another version" : "does not offer") +
                                         ": it is refused at publish"});
  }
  if (report.frozen_clock) {
    warnings.push_back({"component.frozen_clock",
                        "the clock is frozen at build time (built with clocks disabled)"});
  }
  if (report.frozen_random) {
    warnings.push_back({"component.frozen_random",
                        "random numbers are frozen at build time (built with random disabled)"});
  }
  if (report.sparse_image_bytes != 0) {
    warnings.push_back({"component.sparse_image",
                        "its data is strewn over " + std::to_string(report.sparse_image_bytes) +
                            " bytes of memory, which every execution writes anew"});
  }
  return warnings;
}

/// Each reason why no runner could load it; 0 without one.
int complain_of_slots(const domain::ComponentReport& report) {
  int status = 0;
  for (const std::string& text : report.beyond_slots) {
    status = complain({Kind::unprocessable, "component.beyond_slots",
                       "no runner can load it: an instance would need " + text});
  }
  return status;
}

/// What the worker said, with the warnings.
int print_description(const std::string& text, const std::vector<Warning>& warnings) {
  auto document = json::parse(text, {.max_bytes = text.size()});
  if (!document || !document->is_object()) {
    return complain({Kind::internal, "component.malformed", "the description is no JSON object"});
  }
  boost::json::array list;
  for (const Warning& warning : warnings) {
    list.push_back(boost::json::object{{"code", warning.code}, {"message", warning.message}});
  }
  document->get_object()["warnings"] = std::move(list);
  std::printf("%s\n", boost::json::serialize(*document).c_str());
  return 0;
}

void print_report(const domain::ComponentReport& report, const std::vector<Warning>& warnings) {
  const bool module = report.kind == domain::ComponentReport::Kind::core_module;
  std::printf("%s, %llu bytes, %u core modules, %llu bytes of memory at the start\n",
              module ? "core module (legacy)" : "component",
              static_cast<unsigned long long>(report.file_bytes), report.core_modules,
              static_cast<unsigned long long>(report.minimum_memory_bytes));
  for (const std::string& name : report.imports) {
    const auto capability = domain::capability_of_import(name);
    std::printf("  import %s%s%s\n", name.c_str(), capability ? "  needs " : "",
                capability ? std::string(domain::name(*capability)).c_str() : "");
  }
  for (const std::string& name : report.exports) std::printf("  export %s\n", name.c_str());
  for (const Warning& warning : warnings) {
    std::printf("warning: %s: %s\n", std::string(warning.code).c_str(), warning.message.c_str());
  }
}

}  // namespace

int inspect(const std::string& component, bool as_json) {
  constexpr std::uint64_t most = std::uint64_t{256} << 20U;
  const auto readable = open_component_file(component);
  if (!readable) return complain(readable.error());
  const engine::File kept{*readable};
  auto text = engine::describe_component(
      self, component, most, engine::patient(std::chrono::minutes{1}), std::uint64_t{16} << 20U);
  if (!text) return complain(text.error());
  auto report = engine::read_report(*text);
  if (!report) return complain(report.error());
  const std::vector<Warning> warnings = warnings_of(*report);
  if (!as_json) {
    print_report(*report, warnings);
  } else if (const int failed = print_description(*text, warnings); failed != 0) {
    return failed;
  }
  return complain_of_slots(*report);
}

int compile(const std::string& component, const std::string& output) {
  const auto read = open_component_file(component);
  if (!read) return complain(read.error());
  const engine::File input{*read};
  const auto written = open_output_file(output, input.fd());
  if (!written) return complain(written.error());
  const engine::File out{*written};
  struct stat facts{};
  auto began = std::chrono::steady_clock::now();
  if (Status made = engine::compile_component(self, input, out, {engine::patient(patience)});
      !made) {
    // No half of an artefact stays behind, and no device goes.
    if (::fstat(out.fd(), &facts) == 0 && S_ISREG(facts.st_mode)) ::unlink(output.c_str());
    return complain(made.error());
  }
  ::fstat(out.fd(), &facts);
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("compiled in %.2f s to %lld bytes\n", took.count(),
              static_cast<long long>(facts.st_size));
  return 0;
}

}  // namespace alga::app
