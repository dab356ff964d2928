// The audit trail over the API: one verification at a time, with an end; and what only a copy of
// its head can show. Streams of log lines have a bound, too.

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "control_plane/operations.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::Platform;
using testing::Reply;

/// A database on which reading of the audit trail can be held.
class Held final : public testing::PassingDatabase {
 public:
  using PassingDatabase::PassingDatabase;

  void hold() {
    const std::scoped_lock lock(mutex_);
    held_ = true;
  }
  void let_go() {
    const std::scoped_lock lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  /// Until somebody waits.
  void await_reader() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0; });
  }

 protected:
  Status run_read(SteadyTime deadline, Work work) override {
    return real().read(
        [&](sql::Executor& sql) {
          Watching watching(*this, sql);
          return work(watching);
        },
        deadline);
  }

 private:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    --waiting_;
  }
  class Watching final : public testing::PassingExecutor {
   public:
    Watching(Held& held, sql::Executor& real) : PassingExecutor(real), held_(held) {}
    [[nodiscard]] Result<sql::Rows> query(std::string_view text,
                                          const std::vector<sql::Value>& params) override {
      if (text.contains("FROM extension_audit_checkpoint c")) held_.pass();
      return PassingExecutor::query(text, params);
    }

   private:
    Held& held_;
  };

  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  int waiting_ = 0;
};

class Trail : public sql::testing::OnEveryDatabase {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    auto held = std::make_unique<Held>(std::move(database_));
    held_ = held.get();
    platform_ = std::make_unique<Platform>(
        std::move(held), [](Options&) {}, nullptr,
        [this](Dependencies& deps) { deps.metrics = &metrics_; });
    for (const char* tenant : {"t1", "t2"}) admins_[tenant] = p().admin_of(tenant);
  }
  void TearDown() override {
    if (held_ != nullptr) held_->let_go();
    platform_.reset();
  }
  Platform& p() { return *platform_; }

  Reply verify(const std::string& token, const std::string& expect = "") {
    return p().call("GET", "/api/v1/audit/verify" + (expect.empty() ? "" : "?expect=" + expect),
                    token);
  }
  /// An event in the trail of `t1`, in a batch of its own.
  void one_more_batch() {
    p().call("POST", "/api/v1/api-keys", admins_["t1"],
             object{{"label", "more"}, {"role", "tenant_admin"}, {"tenant", "t1"}});
    for (int i = 0; i < 500; ++i) {
      Reply reply = verify(admins_["t1"]);
      ASSERT_EQ(reply.status, 200) << reply.text;
      if (reply.at("/unsealed") == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    FAIL() << "nothing was sealed";
  }
  std::string head() {
    Reply reply = verify(admins_["t1"]);
    return reply.string("/heads/0/tenant") + ":" +
           std::to_string(reply.at("/heads/0/batch").to_number<int>()) + ":" +
           reply.string("/heads/0/chain");
  }
  void change(const std::string& text) {
    auto rows = p().database().write([&](sql::Executor& sql) { return sql.execute(text); });
    ASSERT_TRUE(rows) << rows.error().message;
    ASSERT_GE(*rows, 1U) << text;
  }

  testing::LimitHits metrics_;
  Held* held_ = nullptr;
  std::unique_ptr<Platform> platform_;
  std::map<std::string, std::string> admins_;
};

TEST_P(Trail, IsVerifiedForOneCallerAtATime) {
  held_->hold();
  Reply first;
  {
    const std::jthread caller([&] { first = verify(admins_["t1"]); });
    held_->await_reader();
    for (const auto& token : {admins_["t2"], admins_["t1"], p().operator_token()}) {
      Reply other = verify(token);
      EXPECT_EQ(other.status, 429) << other.text;
      EXPECT_EQ(other.string("/error/code"), "audit.verification_busy");
      EXPECT_EQ(domain::find_header(other.response.headers, "retry-after"), "5");
    }
    held_->let_go();
  }
  EXPECT_EQ(first.status, 200) << first.text;
  EXPECT_EQ(verify(admins_["t2"]).status, 200);
}

TEST_P(Trail, IsNotVerifiedBeyondADeadline) {
  one_more_batch();
  auto late = verify_audit(p().database(), "t1", {.deadline = std::chrono::steady_clock::now()});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, "audit.verification_too_long");
  EXPECT_TRUE(
      verify_audit(p().database(), "t1", {.deadline = sql::within(std::chrono::minutes{1})}));
}

TEST_P(Trail, ThatWasCutOffShowsOnlyAgainstACopyOfItsHead) {
  one_more_batch();
  const std::string former = head();
  one_more_batch();
  const std::string newest = head();
  ASSERT_NE(former, newest);
  EXPECT_EQ(verify(admins_["t1"], former + "," + newest).at("/intact"), true);

  p().plane().stop(sql::within(std::chrono::seconds{5}));  // nothing is sealed from here on
  const std::string batch = newest.substr(3, newest.find(':', 3) - 3);
  change("DELETE FROM extension_audit_log WHERE tenant = 't1' AND batch >= " + batch);
  change("DELETE FROM extension_audit_checkpoint WHERE tenant = 't1' AND batch >= " + batch);
  const auto check = [&](const std::string& expect) {
    auto heads = parse_audit_heads(expect);
    EXPECT_TRUE(heads);
    auto report = verify_audit(p().database(), "t1", {.expected = *heads});
    EXPECT_TRUE(report);
    return report->faults.empty() ? std::string() : report->faults.front();
  };
  EXPECT_EQ(check(""), "") << "nothing in the database tells";
  EXPECT_EQ(check(former), "");
  EXPECT_EQ(check(newest), "tenant t1, batch " + batch + ": it was there once and is not any more");
  const std::string another = newest.substr(0, newest.rfind(':')) + ":0000";
  EXPECT_NE(check(another), "");
  // Another batch in the place of the one that was cut off is no better.
  EXPECT_NE(check(former.substr(0, former.rfind(':')) + ":0000"), "");
  change("DELETE FROM extension_audit_log WHERE tenant = 't1'");
  change("DELETE FROM extension_audit_checkpoint WHERE tenant = 't1'");
  auto nothing = verify_audit(p().database(), "", {.expected = *parse_audit_heads(former)});
  ASSERT_TRUE(nothing);
  EXPECT_FALSE(nothing->faults.empty()) << "a trail that is gone altogether";
}

TEST_P(Trail, IsComparedWithHeadsOfItsOwnTenantThatAreHeads) {
  for (const char* wrong : {"t1", "t1:1", "t1:0:ab", "t1:x:ab", ":1:ab", "t1:1:", "t1:1:a,b"}) {
    EXPECT_EQ(verify(admins_["t1"], wrong).status, 400) << wrong;
  }
  EXPECT_EQ(verify(admins_["t1"], "t2:1:ab").status, 403) << "another tenant's";
  EXPECT_EQ(verify(p().operator_token(), "t2:1:ab").at("/intact"), false);
  EXPECT_FALSE(verify_audit(p().database(), "t1", {.expected = *parse_audit_heads("t2:1:ab")}))
      << "it is not passed over";
}

TEST_P(Trail, AndStreamsOfLogLinesAreBoundedForATenantAndForAll) {
  const auto follow = [&](const std::string& tenant) {
    return p().call("GET", "/api/logs?follow=1", admins_[tenant]);
  };
  std::vector<Reply> open;
  for (int i = 0; i < 8; ++i) {
    open.push_back(follow("t1"));
    ASSERT_EQ(open.back().status, 200) << open.back().text;
  }
  Reply refused = follow("t1");
  EXPECT_EQ(refused.status, 429) << refused.text;
  EXPECT_EQ(refused.string("/error/code"), "log.too_many_followers");
  EXPECT_EQ(metrics_.of("log_followers"), 1);
  EXPECT_EQ(follow("t2").status, 200) << "each tenant has places of its own";
  open.pop_back();
  open.push_back(follow("t1"));
  EXPECT_EQ(open.back().status, 200) << "whoever leaves gives his place";
  for (int tenant = 3; tenant < 10; ++tenant) {
    const std::string name = "t" + std::to_string(tenant);
    admins_[name] = p().admin_of(name);
    for (int i = 0; i < 8; ++i) open.push_back(follow(name));
    ASSERT_EQ(open.back().status, 200) << open.size();
  }
  ASSERT_EQ(open.size(), 64U);
  EXPECT_EQ(follow("t2").status, 429) << "all places are taken";
  EXPECT_EQ(metrics_.of("log_followers"), 2);
  open.clear();
  EXPECT_EQ(follow("t2").status, 200);
}

ALGA_ON_EVERY_DATABASE(Trail);

}  // namespace
}  // namespace alga::control_plane
