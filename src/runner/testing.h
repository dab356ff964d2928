#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "archive/testing.h"
#include "async/spawn.h"
#include "base/testing_metrics.h"
#include "blob/layout.h"
#include "blob/testing.h"
#include "crypto/digest.h"
#include "httpd/testing_server.h"
#include "runner/runner.h"

/// A runner with everything around it in memory, alone or behind HTTP.
namespace alga::runner::testing {

class FakeEngine final : public engine::Engine {
 public:
  Result<std::uint64_t> prepare(const ContentHash&, const std::string&) override { return 1U; }
  Result<bool> is_prepared(const ContentHash&) override { return true; }
  [[nodiscard]] std::string engine() const override { return "0123456789abcdef"; }
  Status discard(const ContentHash&, const std::string&) override { return {}; }
  Result<domain::ComponentReport> inspect(const std::string&) override {
    return domain::ComponentReport{};
  }
  void load(const ContentHash&, std::filesystem::path wasm, std::shared_ptr<const void>,
            const std::string&, Callback<std::shared_ptr<engine::Component>> done) override {
    loaded.push_back(wasm);
    if (never_ready) {
      waiting = std::move(done);
    } else if (load_error) {
      done(alga::fail(*load_error));
    } else if (!std::filesystem::exists(wasm)) {
      done(alga::fail(Kind::unavailable, "engine.component_gone", "it is not there"));
    } else {
      done(std::shared_ptr<engine::Component>{});
    }
  }
  std::shared_ptr<engine::Component> find_ready(const ContentHash&) override {
    if (!in_memory) return nullptr;
    // Not null is all that anybody here asks of it.
    return {std::shared_ptr<void>{}, static_cast<engine::Component*>(static_cast<void*>(this))};
  }
  engine::Ticket run(std::shared_ptr<engine::Component>, engine::Invocation invocation,
                     engine::Done done) override {
    invocations.push_back(std::move(invocation));
    if (during) during();
    done(outcome);
    return {};
  }
  void cancel(const engine::Ticket&) override {}
  [[nodiscard]] Load current_load() const override { return {.running = 1, .waiting = 2}; }
  void refuse_waiting() override {}
  void stop(SteadyTime) override {}

  std::vector<std::filesystem::path> loaded;
  std::vector<engine::Invocation> invocations;
  std::optional<Error> load_error;
  bool never_ready = false;
  bool in_memory = false;
  Callback<std::shared_ptr<engine::Component>> waiting;
  std::function<void()> during;
  engine::Outcome outcome{
      .end = domain::EndClass::ok,
      .response = {.status = 201, .headers = {{"x-a", "1"}, {"x-a", "2"}}, .body = "hi"},
      .message = {},
      .backtrace = {}};
};

class FakeOpener final : public domain::SecretOpener {
 public:
  std::optional<Result<Map>> open_at_once(const domain::SecretEnvelope&,
                                          const domain::EnvelopeBinding&) override {
    if (!ready) return std::nullopt;
    return std::make_shared<const domain::SecretMap>();
  }
  bool ready = false;  ///< nobody needs to wait
  void open(domain::SecretEnvelope, domain::EnvelopeBinding binding,
            Callback<std::shared_ptr<const domain::SecretMap>> done) override {
    ++calls;
    install = binding.install.str();
    if (error) return done(alga::fail(*error));
    if (hold) return held.push_back(std::move(done));
    done(std::make_shared<const domain::SecretMap>());
  }
  void answer_held() {
    for (auto& done : std::exchange(held, {})) done(std::make_shared<const domain::SecretMap>());
  }
  bool hold = false;  ///< nobody is answered before answer_held()
  std::vector<Callback<std::shared_ptr<const domain::SecretMap>>> held;
  int calls = 0;
  std::string install;
  std::optional<Error> error;
};

class KeptRecords final : public domain::RecordSink {
 public:
  void execution(domain::ExecutionRecord record) noexcept override {
    executions.push_back(std::move(record));
  }
  void guest_log(domain::GuestLogLine) noexcept override {}
  void capability(domain::CapabilityEvent) noexcept override {}
  std::vector<domain::ExecutionRecord> executions;
};

/// Lines with their level and what they say of how an execution ended.
class KeptLines final : public LogSink {
 public:
  struct Line {
    LogLevel level;
    std::string message, end_class, code, reason;
  };
  [[nodiscard]] bool enabled(LogLevel) const noexcept override { return true; }
  void write(LogLevel level, std::string_view, std::string_view message,
             std::span<const LogField> fields) noexcept override {
    Line line{level, std::string(message), {}, {}, {}};
    for (const LogField& field : fields) {
      const auto* text = std::get_if<std::string_view>(&field.value);
      if (text == nullptr) continue;
      if (field.key == "end_class") line.end_class = *text;
      if (field.key == "code") line.code = *text;
      if (field.key == "reason") line.reason = *text;
    }
    const std::scoped_lock lock(mutex_);
    lines_.push_back(std::move(line));
  }
  [[nodiscard]] std::vector<Line> lines() const {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Line> lines_;
};

class RunnerTest : public ::testing::Test {
 protected:
  RunnerTest()
      : root_(std::filesystem::temp_directory_path() / ("runner-" + uuid_v7(clock_, random_))),
        archive_(archive::testing::TarBuilder{}.file("dist/main.wasm", "wasm").zst()),
        hash_(*ContentHash::parse(crypto::sha256_hex(archive_))) {
    store_.put(blob::bundle_key(tenant_, extension_, hash_), archive_);
    cache_ = std::move(
        *blob::BundleCache::open({.root = root_}, {store_, clock_, random_, metrics_, {}}));
    grants_.set_keys({key_.public_key()});
  }
  ~RunnerTest() override {
    role_.reset();
    cache_.reset();
    std::filesystem::remove_all(root_);
  }

  RunnerRole& role(Options options = {}) {
    role_ = std::make_unique<RunnerRole>(std::move(options),
                                         Dependencies{.engine = &engine_,
                                                      .bundles = cache_.get(),
                                                      .store = &store_,
                                                      .secrets = &opener_,
                                                      .grants = &grants_,
                                                      .records = &records_,
                                                      .pool = &pool_,
                                                      .clock = &clock_,
                                                      .random = &random_,
                                                      .metrics = &metrics_,
                                                      .log = Logger(log_, "runner")});
    return *role_;
  }
  static Options drop_in() {
    Options options;
    options.trust = Options::Trust::service_token;
    options.service_token = Secret("token");
    return options;
  }

  domain::ExecuteRequest request() {
    return {.request_id = "r1",
            .tenant = tenant_,
            .extension = extension_,
            .install = InstallId::parse("i1"),
            .content_hash = hash_,
            .http = {.method = "GET", .url = "/a?q=1", .headers = {}, .body = {}}};
  }
  domain::Grant grant(domain::CapabilitySet capabilities) {
    const auto now = std::chrono::floor<std::chrono::seconds>(clock_.wall());
    return {.issued = now,
            .expires = now + std::chrono::seconds{30},
            .tenant = tenant_,
            .install = *InstallId::parse("i1"),
            .extension = extension_,
            .version = *VersionId::parse("v1"),
            .content_hash = hash_,
            .capabilities = capabilities,
            .egress = {},
            .limits = {},
            .config_version = "c1",
            .secrets_version = "s1",
            .envelope_sha256 = {},
            .envelope_expires = {},
            .config_sha256 = {}};
  }
  domain::ExecuteRequest granted(const domain::Grant& grant) {
    auto with = request();
    with.grant = *domain::sign_grant(grant, key_);
    return with;
  }
  /// Puts a bundle into the store and returns its hash.
  ContentHash place(const std::string& archive) {
    const ContentHash hash = *ContentHash::parse(crypto::sha256_hex(archive));
    store_.put(blob::bundle_key(tenant_, extension_, hash), archive);
    return hash;
  }
  domain::ExecuteResponse execute(RunnerRole& role, domain::ExecuteRequest request) {
    return async::block_on(role.execute(std::move(request)));
  }

  SystemClock clock_;
  SystemRandom random_;
  alga::testing::CountingMetrics metrics_;
  std::shared_ptr<KeptLines> log_ = std::make_shared<KeptLines>();
  const TenantId tenant_ = *TenantId::parse("t1");
  const ExtensionId extension_ = *ExtensionId::parse("e1");
  std::filesystem::path root_;
  std::string archive_;
  ContentHash hash_;
  blob::testing::MemoryBundleStore store_;
  std::unique_ptr<blob::BundleCache> cache_;
  crypto::SigningKey key_ = crypto::SigningKey::generate();
  domain::GrantVerifier grants_{clock_};
  FakeEngine engine_;
  FakeOpener opener_;
  KeptRecords records_;
  async::BlockingPool pool_{2, 100};
  std::unique_ptr<RunnerRole> role_;
};

class RunnerHttpTest : public RunnerTest {
 protected:
  /// A thread lets go of a server's loop a moment after it has handed its answer over.
  ~RunnerHttpTest() override {
    cache_->close();
    pool_.close();
  }
  void serve(Options options) {
    httpd::Router router;
    role(std::move(options)).add_routes(router);
    role_->add_health_routes(router);
    servers_.push_back(std::make_unique<httpd::TestingServer>(std::move(router)));
    server_ = servers_.back().get();
  }
  std::string post(const std::string& headers, const std::string& body,
                   const std::string& path = "/v1/execute") {
    return httpd::exchange_raw(
        server_->port(), "POST " + path + " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" +
                             "content-type: application/json\r\n" + headers +
                             "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  std::string get(const std::string& path) {
    return httpd::exchange_raw(server_->port(),
                               "GET " + path + " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  }
  std::string body(const std::string& extra = {}) {
    return R"({"context":{"request_id":"r1","tenant_id":"t1","extension_id":"e1","install_id":"i1",)"
           R"("content_hash":")" +
           hash_.prefixed() +
           R"("},"http":{"method":"POST","path":"/p","query":{"b":"2 &","a":"1"},)"
           R"("headers":{"accept":"x"},"body_b64":""},"unknown":1)" +
           extra + "}";
  }
  const std::string known = "x-runner-service-token: token\r\n";
  const std::string routed = known + "x-alga-tenant: t1\r\nx-alga-extension: e1\r\n";
  std::vector<std::unique_ptr<httpd::TestingServer>> servers_;  // all until the threads are done
  httpd::TestingServer* server_ = nullptr;
};

}  // namespace alga::runner::testing
