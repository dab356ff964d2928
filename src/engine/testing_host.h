#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/execution.h"
#include "engine/testing.h"
#include "engine/testing_calls.h"

/// An execution without a guest, with a fake behind each port: what a capability does, by itself.
namespace alga::engine::testing {

class FakeEgress final : public domain::Egress {
 public:
  std::uint64_t fetch(domain::EgressRequest request, Callback<domain::HttpResponse> done) override {
    requests.push_back(std::move(request));
    if (held) {
      waiting = std::move(done);
    } else {
      done(answer);
    }
    return 70 + requests.size();
  }
  void cancel(std::uint64_t id) override { cancelled.push_back(id); }

  Result<domain::HttpResponse> answer = domain::HttpResponse{204, {{"x", "y"}}, "body"};
  std::vector<domain::EgressRequest> requests;
  std::vector<std::uint64_t> cancelled;
  bool held = false;
  Callback<domain::HttpResponse> waiting;
};

class FakeStorage final : public domain::ExtensionStorage {
 public:
  void get(domain::StorageScope scope, std::string ns, std::string key,
           Callback<domain::StorageRecord> done) override {
    note("get", scope, ns, key);
    if (error) return done(fail(*error));
    done(domain::StorageRecord{std::move(ns), std::move(key), value, 7});
  }
  void put(domain::StorageScope scope, domain::StoragePut put,
           Callback<std::uint64_t> done) override {
    note("put", scope, put.ns, put.key);
    puts.push_back(std::move(put));
    if (error) return done(fail(*error));
    done(std::uint64_t{8});
  }
  void remove(domain::StorageScope scope, std::string ns, std::string key,
              domain::WriteCondition condition, Callback<void> done) override {
    note("remove", scope, ns, key);
    removed_if = condition;
    if (error) return done(fail(*error));
    done(Status{});
  }
  void list(domain::StorageScope scope, domain::StorageList list,
            Callback<domain::StoragePage> done) override {
    note("list", scope, list.ns, list.prefix);
    limits.push_back(list.limit);
    if (error) return done(fail(*error));
    done(domain::StoragePage{{{list.ns, "a", value, 1}, {list.ns, "b", value, 2}}, next});
  }

  std::vector<std::string> calls;
  std::vector<domain::StoragePut> puts;
  std::vector<std::uint32_t> limits;
  domain::WriteCondition removed_if;
  std::string value = "stored";
  std::optional<std::string> next;
  std::optional<Error> error;

 private:
  void note(const char* what, const domain::StorageScope& scope, const std::string& ns,
            const std::string& key) {
    calls.push_back(std::string(what) + ' ' + scope.tenant.str() + ' ' + scope.install.str() + ' ' +
                    scope.grant + ' ' + ns + ' ' + key);
  }
};

class FakeUiProxy final : public UiProxy {
 public:
  std::uint64_t call(Call call, Callback<std::string> done) override {
    calls.push_back(std::move(call));
    if (held) {
      waiting = std::move(done);
    } else {
      done(answer);
    }
    return 90 + calls.size();
  }
  void cancel(std::uint64_t id) override { cancelled.push_back(id); }

  Result<std::string> answer = std::string("page");
  std::vector<Call> calls;
  std::vector<std::uint64_t> cancelled;
  bool held = false;
  Callback<std::string> waiting;
};

/// Draws 0, 1/8, … 7/8, and again.
class CountingRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    std::ranges::fill(out, std::uint8_t{0});
    out[0] = static_cast<std::uint8_t>(32U * (next_++ % 8));
  }

 private:
  unsigned next_ = 0;
};

/// One execution that never runs: its calls are made by the test.
class HostCallsTest : public ::testing::Test {
 protected:
  HostCallsTest() {
    for (const auto each : {domain::Capability::context_read, domain::Capability::config_read,
                            domain::Capability::log_emit, domain::Capability::user_read,
                            domain::Capability::secrets_get, domain::Capability::http_fetch,
                            domain::Capability::storage_kv, domain::Capability::ui_proxy}) {
      invocation.capabilities.insert(each);
    }
  }

  Execution& execution() {
    if (execution_) return *execution_;
    outcome.reset();
    auto shared = std::make_shared<Shared>();
    const domain::ServerLimits& limits = options.limits;
    shared->options = options;
    shared->use = {.egress = no_egress ? nullptr : &egress,
                   .storage = no_storage ? nullptr : &storage,
                   .ui_proxy = no_ui_proxy ? nullptr : &ui_proxy,
                   .records = &records,
                   .clock = &clock_,
                   .random = &random_,
                   .metrics = &metrics,
                   .log = Logger(log, "engine")};
    shared->limits = {};
    shared->peak_memory = &metrics.histogram("peak", "", {});
    shared->drop_seconds = &metrics.histogram("drop", "", {});
    shared->max_host_calls = limits.value(domain::Limit::host_calls);
    shared->max_host_bytes = limits.value(domain::Limit::host_bytes);
    shared->max_fetches = limits.value(domain::Limit::fetch_calls);
    shared->max_fetch_response = limits.value(domain::Limit::fetch_response);
    shared->fetch_header_limits = {
        .fields = static_cast<std::uint32_t>(limits.value(domain::Limit::header_count)),
        .bytes = limits.value(domain::Limit::header_bytes)};
    shared->max_fetch_time = std::chrono::milliseconds{limits.value(domain::Limit::fetch_time)};
    shared->max_ui_payload = limits.value(domain::Limit::ui_payload);
    execution_ = std::make_shared<Execution>(shared, nullptr, invocation,
                                             [this](Outcome end) { outcome = std::move(end); });
    return *execution_;
  }

  /// The next call belongs to another execution.
  void reset() { execution_.reset(); }

  /// Makes the call and returns what on_call() did: non-zero ends the guest.
  int ask(KeptCall& call, ab_op op, std::string_view key = {}) {
    ab_host_request request{};
    request.op = op;
    request.key = to_ab(key);
    request.storage = &stored;
    request.http = &asked;
    return execution().on_call(request, call.raw());
  }

  /// The call, made, with what the engine said to it; the guest goes on.
  std::unique_ptr<KeptCall> answered(ab_op op, std::string_view key = {}) {
    auto call = std::make_unique<KeptCall>();
    EXPECT_EQ(ask(*call, op, key), 0);
    EXPECT_EQ(call->answers, 1);
    return call;
  }

  /// Ends the guest as the bridge would tell it, and returns what became of that.
  Outcome& end_with(ab_end end, std::string_view limit = {}) {
    scripted_outcome = {};
    scripted_outcome.end = end;
    scripted_outcome.status = 200;
    scripted_outcome.limit = to_ab(limit);
    EXPECT_EQ(execution().step(), Job::Step::finished);
    execution().conclude();
    return outcome.value();
  }
  /// Codes of the limits that the outcome names, one after the other.
  [[nodiscard]] std::string limits_hit() const {
    std::string text;
    for (const domain::Limit limit : outcome.value().limits) {
      text += (text.empty() ? "" : " ") + std::string(domain::info(limit).code);
    }
    return text;
  }

  Invocation invocation{
      .who = {"acme", "ext", "install", "1.0.0", "request", ""},
      .tenant = *TenantId::parse("acme"),
      .install = InstallId::parse("install"),
      .request = {.request_id = "request",
                  .tenant = *TenantId::parse("acme"),
                  .extension = *ExtensionId::parse("ext"),
                  .install = InstallId::parse("install"),
                  .content_hash = *ContentHash::parse(std::string(64, 'a')),
                  .config = {{"colour", "green"}, {"size", "3"}},
                  .http = {"GET", "/", {}, {}},
                  .grant = "the-grant",
                  .depth = 2},
      .capabilities = {},
      .egress = std::make_shared<const domain::EgressPolicy>(
          *domain::EgressPolicy::parse({"https://api.test"})),
      .secrets = std::make_shared<const domain::SecretMap>(
          *domain::SecretMap::from_pairs({{"api_key", "hunter2"}, {"other", "x"}})),
      .limits = {.wall_ms = 1000, .cpu_ms = 1000, .memory_bytes = 1U << 20U}};
  ab_storage_request stored{.ns = to_ab("notes"),
                            .key = to_ab("customer-42"),
                            .value = to_ab_view("v"),
                            .condition = AB_ALWAYS,
                            .revision = 0,
                            .ttl_seconds = 0,
                            .has_ttl = 0,
                            .cursor = {},
                            .limit = 0};
  ab_http_request asked{.method = to_ab("GET"),
                        .url = to_ab("https://user:pw@api.test/path?token=hunter2"),
                        .headers = nullptr,
                        .n_headers = 0,
                        .body = {},
                        .has_body = 0};
  Options options;
  FakeEgress egress;
  FakeStorage storage;
  FakeUiProxy ui_proxy;
  CollectedRecords records;
  CountingMetrics metrics;
  std::shared_ptr<KeptLog> log = std::make_shared<KeptLog>();
  bool no_egress = false, no_storage = false, no_ui_proxy = false;
  std::optional<Outcome> outcome;

 private:
  ManualClock clock_;
  CountingRandom random_;
  std::shared_ptr<Execution> execution_;
};

}  // namespace alga::engine::testing
