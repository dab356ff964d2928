#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/testing_metrics.h"
#include "crypto/digest.h"
#include "engine/engine.h"

/// An engine with everything around it in memory, and the small guests of tests/guests/text.
namespace alga::engine::testing {

namespace fs = std::filesystem;

using alga::testing::CountingMetrics;

/// `message key=value…`, one for each line; numbers are left out. Thread-safe.
class KeptLog final : public LogSink {
 public:
  [[nodiscard]] bool enabled(LogLevel) const noexcept override { return true; }
  void write(LogLevel, std::string_view, std::string_view message,
             std::span<const LogField> fields) noexcept override {
    std::string line(message);
    for (const LogField& field : fields) {
      const auto* text = std::get_if<std::string_view>(&field.value);
      line += " " + std::string(field.key) + "=" + std::string(text != nullptr ? *text : "");
    }
    const std::scoped_lock lock(mutex_);
    lines_.push_back(std::move(line));
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }
  /// How many lines hold all of these words.
  [[nodiscard]] std::size_t count(std::initializer_list<std::string_view> words) const {
    const std::vector<std::string> all = lines();
    return static_cast<std::size_t>(std::ranges::count_if(all, [&](const std::string& line) {
      return std::ranges::all_of(words, [&](std::string_view word) { return line.contains(word); });
    }));
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

class CollectedRecords final : public domain::RecordSink {
 public:
  void execution(domain::ExecutionRecord) noexcept override {}
  void guest_log(domain::GuestLogLine line) noexcept override {
    const std::scoped_lock lock(mutex_);
    lines_.push_back(std::move(line.message));
  }
  void capability(domain::CapabilityEvent event) noexcept override {
    const std::scoped_lock lock(mutex_);
    events_.push_back(event.kind + " " + event.target);
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }
  [[nodiscard]] std::vector<std::string> events() const {
    const std::scoped_lock lock(mutex_);
    return events_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_, events_;
};

/// Keeps every request until a test answers it. A cancelled request stays, so that a test may
/// answer it late, as a network does. Thread-safe.
class HeldEgress final : public domain::Egress {
 public:
  std::uint64_t fetch(domain::EgressRequest, Callback<domain::HttpResponse> done) override {
    const std::scoped_lock lock(mutex_);
    const std::uint64_t id = ++last_;
    held_.emplace(id, std::move(done));
    arrived_.notify_all();
    return id;
  }
  void cancel(std::uint64_t) override { ++cancelled; }

  /// Waits until so many requests are held; false after twenty seconds.
  bool wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, std::chrono::seconds{20}, [&] { return held_.size() >= count; });
  }
  /// Answers everything that is held with this status.
  std::size_t answer_all(std::uint16_t status) {
    std::map<std::uint64_t, Callback<domain::HttpResponse>> taken;
    {
      const std::scoped_lock lock(mutex_);
      taken.swap(held_);
    }
    for (auto& [id, done] : taken) done(domain::HttpResponse{status, {{"x", "y"}}, "late"});
    return taken.size();
  }
  std::atomic<int> cancelled{0};

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::uint64_t, Callback<domain::HttpResponse>> held_;
  std::uint64_t last_ = 0;
};

/// Bytes of tests/guests/text/NAME.wasm.
inline fs::path guest_file(std::string_view name) {
  return fs::path(ALGA_TEXT_GUESTS) / (std::string(name) + ".wasm");
}

inline std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void write_file(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(text.data(), static_cast<std::streamsize>(text.size()));
}

/// The content hash under which the tests load a guest; `salt` makes the same bytes another bundle.
inline ContentHash hash_of(const fs::path& wasm, std::string_view salt = "") {
  return *ContentHash::parse(crypto::sha256_hex(read_file(wasm) + std::string(salt)));
}

inline Options small_options(const fs::path& folder) {
  Options options;
  options.threads = 2;
  options.max_executions = 32;
  options.max_executions_per_tenant = 32;
  options.max_executions_per_install = 32;
  options.cache = folder / "artefacts";
  options.preload_time = std::chrono::milliseconds{0};
  options.self = "/proc/self/exe";  // this test program is its own compile worker
  return options;
}

/// What this program does as `load-and-wait FOLDER`; see engine_artefacts_test.cc.
int load_and_wait(const fs::path& folder);

/// A folder of its own and an engine in it, which a test may stop and open again.
class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    std::string name = (fs::temp_directory_path() / "alga-engine-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    options = small_options(folder_);
    options.compile_key = key_;
    options.trusted_keys = {key_->public_key()};
  }
  ~EngineTest() override {
    engine_.reset();
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  Engine& open() {
    engine_.reset();
    Dependencies use;
    use.egress = &egress;
    use.records = &records;
    use.clock = &clock_;
    use.random = &random_;
    use.metrics = &metrics;
    use.log = Logger(log, "engine");
    auto made = Engine::create(options, use);
    if (!made) throw std::runtime_error(std::string(made.error().code) + made.error().message);
    engine_ = std::move(*made);
    return *engine_;
  }
  Engine& engine() { return engine_ ? *engine_ : open(); }
  void close() { engine_.reset(); }

  using Loaded = Result<std::shared_ptr<Component>>;
  Loaded load(std::string_view name, std::string_view salt = "") {
    return start_load(name, salt).get();
  }
  std::future<Loaded> start_load(std::string_view name, std::string_view salt = "",
                                 const std::string& line = "acme") {
    auto promise = std::make_shared<std::promise<Loaded>>();
    const fs::path wasm = guest_file(name);
    engine().load(hash_of(wasm, salt), wasm, nullptr, line,
                  [promise](Loaded answer) { promise->set_value(std::move(answer)); });
    return promise->get_future();
  }

  static Invocation invocation(std::string_view tenant = "acme") {
    Invocation out{.who = {std::string(tenant), "ext", "install", "1.0.0", "request", ""},
                   .tenant = *TenantId::parse(tenant),
                   .install = InstallId::parse("install"),
                   .request = {.request_id = "request",
                               .tenant = *TenantId::parse(tenant),
                               .extension = *ExtensionId::parse("ext"),
                               .content_hash = *ContentHash::parse(std::string(64, 'a')),
                               .http = {"POST", "/", {}, "hello"}},
                   .capabilities = domain::default_capabilities(),
                   .egress = std::make_shared<const domain::EgressPolicy>(
                       *domain::EgressPolicy::parse({"https://api.test"})),
                   .secrets = nullptr,
                   .limits = {.wall_ms = 20'000, .cpu_ms = 20'000, .memory_bytes = 64U << 20U}};
    for (auto more : {domain::Capability::config_read, domain::Capability::http_fetch,
                      domain::Capability::storage_kv}) {
      out.capabilities.insert(more);
    }
    return out;
  }

  struct Started {
    Ticket ticket;
    std::future<Outcome> outcome;
  };
  Started start(std::shared_ptr<Component> component, Invocation how) {
    auto promise = std::make_shared<std::promise<Outcome>>();
    Ticket ticket = engine().run(std::move(component), std::move(how), [promise](Outcome outcome) {
      promise->set_value(std::move(outcome));
    });
    return {std::move(ticket), promise->get_future()};
  }
  Outcome run(std::string_view name, Invocation how) {
    Loaded component = load(name);
    if (!component) throw std::runtime_error(std::string(component.error().code));
    return start(*component, std::move(how)).outcome.get();
  }
  Outcome run(std::string_view name) { return run(name, invocation()); }

  [[nodiscard]] double loads_from(const char* where) const {
    return metrics.count(std::string("alga_component_loads_total{") + where + "}");
  }
  [[nodiscard]] const fs::path& folder() const { return folder_; }

  Options options;
  CountingMetrics metrics;
  CollectedRecords records;
  HeldEgress egress;
  std::shared_ptr<KeptLog> log = std::make_shared<KeptLog>();

 private:
  fs::path folder_;
  std::shared_ptr<const crypto::SigningKey> key_ =
      std::make_shared<const crypto::SigningKey>(crypto::SigningKey::generate());
  SystemClock clock_;
  SystemRandom random_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace alga::engine::testing
