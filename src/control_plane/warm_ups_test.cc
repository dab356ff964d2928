#include "control_plane/warm_ups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <condition_variable>
#include <latch>
#include <mutex>

#include "control_plane/http_warm_up_target.h"
#include "control_plane/testing.h"
#include "domain/warmup_token.h"
#include "httpd/testing_server.h"

namespace alga::control_plane {
namespace {

using namespace std::chrono_literals;
using domain::WarmUpTarget;
using ::testing::HasSubstr;

/// A runner that notes its orders and can be told to fail the first ones, or to stall.
class FakeRunner final : public WarmUpTarget {
 public:
  Result<Answer> warm_up(const domain::WarmUpOrder& order) override {
    std::unique_lock lock(mutex_);
    orders_.push_back(order);
    changed_.notify_all();
    changed_.wait(lock, [this] { return !stalled_; });
    if (failures_ == 0) return Answer::ready;
    --failures_;
    return fail(Kind::unavailable, "runner.unreachable", "away");
  }
  void fail_next(int orders) { failures_ = orders; }
  void stall(bool stalled) {
    const std::scoped_lock lock(mutex_);
    stalled_ = stalled;
    changed_.notify_all();
  }
  /// Waits until there are that many.
  std::vector<domain::WarmUpOrder> orders(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, 60s, [&] { return orders_.size() >= count; }));
    return orders_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<domain::WarmUpOrder> orders_;
  std::atomic<int> failures_ = 0;
  bool stalled_ = false;
};

class WarmUpsTest : public ::testing::Test {
 protected:
  WarmUpsTest()
      : platform_(std::make_unique<testing::Platform>(
            std::move(*sql::open_database("sqlite:" + folder_.path() + "/alga.db")),
            [](Options&) {}, nullptr,
            [this](Dependencies& deps) { deps.warm_up = {&first_, &second_}; })) {}

  std::string publish(const std::string& version = "1.0.0") {
    if (publisher_.empty()) publisher_ = platform_->publisher("acme");
    const testing::Reply reply = platform_->publish(
        publisher_, testing::Platform::bundle(testing::Platform::manifest("hello", version)));
    EXPECT_EQ(reply.status, 200) << reply.text;
    return reply.string("/contentHash");
  }

  sql::testing::TemporaryFolder folder_;
  FakeRunner first_, second_;
  std::unique_ptr<testing::Platform> platform_;
  std::string publisher_;
};

TEST_F(WarmUpsTest, TellsEveryRunnerWhatWasPublished) {
  const std::string hash = publish();
  for (FakeRunner* runner : {&first_, &second_}) {
    const auto orders = runner->orders(1);
    ASSERT_EQ(orders.size(), 1U);
    EXPECT_EQ(orders[0].bundle.prefixed(), hash);
  }
}

TEST_F(WarmUpsTest, SignsItsOrdersSoThatRunnersNeedNotKnowIt) {
  publish();
  domain::GrantVerifier runner(platform_->clock());
  std::vector<crypto::PublicKey> keys;
  for (const GrantKey& key : platform_->plane().grant_keys()) keys.push_back(key.key);
  runner.set_keys(keys);
  const domain::WarmUpOrder order = first_.orders(1)[0];
  EXPECT_TRUE(domain::check_warmup(order.token, order.bundle, runner, platform_->clock().wall()));
}

TEST_F(WarmUpsTest, TellsThemAgainAtInstallUpdateAndEnable) {
  const std::string hash = publish();
  const std::string admin = platform_->admin_of("t1");
  const testing::Reply made = platform_->call("POST", "/api/v1/installs", admin,
                                              boost::json::object{{"extension", "acme.hello"}});
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(first_.orders(2)[1].bundle.prefixed(), hash);
  const std::string path = "/api/v1/installs/" + made.string("/install/id");
  EXPECT_EQ(platform_->call("POST", path + "/disable", admin).status, 200);
  EXPECT_EQ(platform_->call("POST", path + "/enable", admin).status, 200);
  EXPECT_EQ(first_.orders(3)[2].bundle.prefixed(), hash) << "a disabled one warms nobody";
  const std::string newer = publish("1.1.0");
  first_.orders(4);
  EXPECT_EQ(platform_->call("POST", path + "/update", admin, boost::json::object{}).status, 200);
  const auto orders = first_.orders(5);
  EXPECT_EQ(orders[3].bundle.prefixed(), newer);
  EXPECT_EQ(orders[4].bundle.prefixed(), newer);
}

TEST_F(WarmUpsTest, RepeatsAnOrderOnceAndThenGivesUp) {
  first_.fail_next(2);
  const std::string hash = publish();
  EXPECT_EQ(first_.orders(2)[1].bundle.prefixed(), hash);
  const std::string newer = publish("1.1.0");
  EXPECT_EQ(first_.orders(3)[2].bundle.prefixed(), newer) << "no third attempt";
}

TEST_F(WarmUpsTest, KeepsNobodyWaitingWhenARunnerHangs) {
  first_.stall(true);
  publish();
  first_.orders(1);
  const std::string newer = publish("1.1.0");
  EXPECT_EQ(second_.orders(2)[1].bundle.prefixed(), newer) << "the other runner is told";
  first_.stall(false);
  EXPECT_EQ(first_.orders(2)[1].bundle.prefixed(), newer);
}

/// What a runner said, in words that a test can print.
std::string said_by(WarmUpTarget& target) {
  const auto answer =
      target.warm_up({*ContentHash::parse(std::string(64, 'a')), "order.of-the-test"});
  if (!answer) return answer.error().message;
  return std::to_string(static_cast<int>(*answer));
}

/// What a runner answers to an order, and the last order that it got.
struct Wire {
  std::uint16_t status = 200;
  std::string body = "{}";
  std::string seen;
};

async::Task<httpd::Response> answer(Wire* wire, httpd::Request request) {
  wire->seen = std::string(request.header(domain::warmup_header).value_or("")) + " " +
               std::string(request.header("x-runner-service-token").value_or("")) + " " +
               request.body;
  co_return httpd::json_response(wire->status, wire->body);
}

TEST(HttpWarmUpTarget, OrdersByHttpAndReadsTheAnswer) {
  Wire wire;
  httpd::Router router;
  router.add("POST", "/warmup",
             [&wire](httpd::Request request) { return answer(&wire, std::move(request)); });
  httpd::TestingServer server(std::move(router));
  NoMetrics metrics;
  egress::HttpClient client(std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics));
  HttpWarmUpTarget target(
      {.url = server.origin() + "/", .service_token = [] { return Secret("token"); }}, client);
  const auto answered = [&](std::uint16_t status, std::string body) {
    wire.status = status;
    wire.body = std::move(body);
    return said_by(target);
  };
  EXPECT_EQ(answered(200, "{}"), "0");
  EXPECT_EQ(wire.seen,
            R"(order.of-the-test token {"content_hash":"sha256:)" + std::string(64, 'a') + "\"}");
  EXPECT_EQ(answered(202, "{}"), "1");
  EXPECT_EQ(answered(422, "{}"), "2");
  EXPECT_EQ(answered(401, R"({"error":{"code":"grant.expired"}})"),
            "the runner answered 401 grant.expired");
  EXPECT_EQ(answered(500, "<html>"), "the runner answered 500");
  HttpWarmUpTarget nobody({.url = "http://127.0.0.1:1"}, client);
  EXPECT_EQ(said_by(nobody), "egress.transport");
}

TEST(HttpWarmUpTarget, WarmsEveryRunnerBehindOneName) {
  std::array<Wire, 2> wires;
  const auto routes_of = [](Wire* wire) {
    httpd::Router router;
    router.add("POST", "/warmup",
               [wire](httpd::Request request) { return answer(wire, std::move(request)); });
    return router;
  };
  httpd::TestingServer first(routes_of(&wires[0]));
  httpd::TestingServer second(routes_of(&wires[1]), {.address = "127.0.0.2", .port = first.port()});
  NoMetrics metrics;
  egress::HttpClient client(std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics));
  std::vector<std::string> addresses{"127.0.0.1", "127.0.0.2"};
  HttpWarmUpTarget target(
      {.url = "http://runners.example.com:" + std::to_string(first.port()),
       .addresses = [&](const std::string&) -> Result<std::vector<std::string>> {
         return addresses;
       }},
      client);
  const auto answered = [&](std::uint16_t one, std::uint16_t other) {
    for (Wire& wire : wires) wire.seen.clear();
    wires[0].status = one;
    wires[1].status = other;
    std::string said = said_by(target);
    for (const Wire& wire : wires) EXPECT_THAT(wire.seen, HasSubstr("order.of-the-test"));
    return said;
  };
  EXPECT_EQ(answered(200, 200), "0");
  EXPECT_EQ(answered(200, 202), "1") << "one of them still compiles";
  EXPECT_EQ(answered(202, 200), "1");
  EXPECT_EQ(answered(422, 422), "2");
  EXPECT_EQ(answered(200, 503), "1 of 2 runners: the runner answered 503");
  addresses.push_back("127.0.0.3");
  EXPECT_EQ(answered(200, 200), "1 of 3 runners: egress.transport");
}

TEST(HttpWarmUpTarget, SaysThatANameCannotBeResolved) {
  NoMetrics metrics;
  egress::HttpClient client(std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics));
  HttpWarmUpTarget target({.url = "http://nobody.invalid"}, client);
  const auto refused = target.warm_up({*ContentHash::parse(std::string(64, 'a')), "order"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "runner.unreachable");
}

async::Task<httpd::Response> answer_after(std::latch* asked, std::latch* that) {
  asked->count_down();
  that->wait();
  co_return httpd::json_response(200, "{}");
}

TEST(HttpWarmUpTarget, EndsSoonWhenTheServerEnds) {
  std::latch asked(1);
  std::latch ended(1);
  httpd::Router router;
  router.add("POST", "/warmup", [&](httpd::Request) { return answer_after(&asked, &ended); });
  httpd::TestingServer server(std::move(router));
  NoMetrics metrics;
  egress::HttpClient client(std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics));
  HttpWarmUpTarget target({.url = server.origin()}, client);
  std::jthread end([&] {
    asked.wait();
    target.abort();
  });
  EXPECT_EQ(said_by(target), "egress.cancelled") << "before there is an answer";
  ended.count_down();
  EXPECT_EQ(said_by(target), "egress.cancelled") << "and nothing begins any more";
}

}  // namespace
}  // namespace alga::control_plane
