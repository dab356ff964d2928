#include "runner/control_plane_link.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <utility>

#include "async/task.h"
#include "httpd/testing_server.h"

namespace alga::runner {
namespace {

using std::chrono::milliseconds;

/// The code of each line.
class Codes final : public LogSink {
 public:
  [[nodiscard]] bool enabled(LogLevel) const noexcept override { return true; }
  void write(LogLevel, std::string_view, std::string_view,
             std::span<const LogField> fields) noexcept override {
    const std::scoped_lock lock(mutex_);
    for (const LogField& field : fields) {
      if (field.key == "code") said_ += std::string(std::get<std::string_view>(field.value)) + ' ';
    }
  }
  [[nodiscard]] std::string said() const {
    const std::scoped_lock lock(mutex_);
    return said_;
  }

 private:
  mutable std::mutex mutex_;
  std::string said_;
};

class ControlPlaneLinkTest : public ::testing::Test {
 protected:
  ControlPlaneLinkTest() {
    httpd::Router router;
    const auto handler = [this](httpd::Request request) {
      return answer(this, std::move(request));
    };
    router.add("POST", "/internal/records", handler);
    router.add("GET", "/internal/grant-keys", handler);
    server_ = std::make_unique<httpd::TestingServer>(std::move(router));
    link_.url = server_->origin();
    link_.token = [] { return Result<Secret>(Secret("token")); };
  }
  static async::Task<httpd::Response> answer(ControlPlaneLinkTest* test, httpd::Request request) {
    ++test->asked_;
    if (request.header("x-runner-auth") != "token") co_return httpd::json_response(401, "{}");
    test->received_ = request.body;
    co_return httpd::json_response(test->status_, test->body_);
  }
  std::string delivered(std::uint16_t status) {
    status_ = status;
    const Status outcome = deliver_records(client_, link_, "{\"id\":\"1\"}\n");
    return outcome ? "delivered" : std::string(outcome.error().code);
  }
  /// How many keys were taken from an answer, or the code of the refusal.
  std::string fetched(const std::string& body) {
    body_ = body;
    const auto keys = fetch_grant_keys(client_, link_);
    return keys ? std::to_string(keys->keys.size()) : std::string(keys.error().code);
  }

  NoMetrics metrics_;
  egress::HttpClient client_{
      std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics_)};
  std::atomic<int> asked_ = 0;
  std::atomic<std::uint16_t> status_ = 200;
  std::string body_ = "{}", received_;
  ControlPlaneLink link_;
  std::unique_ptr<httpd::TestingServer> server_;
};

TEST_F(ControlPlaneLinkTest, DeliversRecordsAndTellsWhetherRepeatingHelps) {
  EXPECT_EQ(delivered(204), "delivered");
  EXPECT_EQ(received_, "{\"id\":\"1\"}\n");
  for (const std::uint16_t about_them : {400, 413, 422}) {
    EXPECT_EQ(delivered(about_them), "records.refused");
  }
  for (const std::uint16_t for_now : {401, 404, 429, 500, 503}) {
    EXPECT_EQ(delivered(for_now), "records.unavailable") << "a wrong token may be put right";
  }
  server_.reset();
  EXPECT_EQ(delivered(204), "records.unavailable");
}

TEST_F(ControlPlaneLinkTest, TakesTheGoodKeysOfAnAnswer) {
  const std::string key = crypto::SigningKey::generate().public_key().base64();
  EXPECT_EQ(fetched(R"({"keys":[{"kid":"a","public_key":")" + key + R"("},{"public_key":"?"}]})"),
            "1");
  for (const char* body :
       {"", "[]", "{}", R"({"keys":[]})", R"({"keys":[{"public_key":"AAAA"}]})"}) {
    EXPECT_EQ(fetched(body), "grant.keys_unavailable") << body;
  }
  status_ = 403;
  EXPECT_EQ(fetched(R"({"keys":[{"public_key":")" + key + R"("}]})"), "grant.keys_unavailable");
}

TEST_F(ControlPlaneLinkTest, NamesTheDifferenceOfTheClocks) {
  const std::string key = crypto::SigningKey::generate().public_key().base64();
  body_ = R"({"keys":[{"public_key":")" + key + R"("}]})";
  const WallTime now = SystemClock().wall();
  // The answer may take its time on a busy machine, and the clock of the test stands still.
  const std::pair<std::chrono::minutes, const char*> cases[] = {
      {std::chrono::hours{1}, "clock.skewed "},
      {-std::chrono::hours{1}, "clock.skewed "},
      {std::chrono::minutes{0}, ""}};
  for (const auto& [off, said] : cases) {
    const ManualClock moved(now + off);
    const SystemClock right;
    const auto codes = std::make_shared<Codes>();
    std::atomic<bool> answered = false;
    {
      const Clock& clock = off.count() == 0 ? static_cast<const Clock&>(right) : moved;
      const GrantKeyWatch watch(
          client_, link_, [&](const auto&) { answered = true; }, clock, Logger(codes, "grants"));
      while (!answered) std::this_thread::sleep_for(milliseconds(1));
    }  // which waits for its thread
    EXPECT_EQ(codes->said(), said) << off.count() << " minutes";
  }
}

TEST_F(ControlPlaneLinkTest, WatchesUntilThereIsAnAnswer) {
  const std::string key = crypto::SigningKey::generate().public_key().base64();
  body_ = R"({"keys":[{"public_key":")" + key + R"("}]})";
  status_ = 503;
  std::atomic<int> changes = 0;
  const SystemClock clock;
  {
    const GrantKeyWatch watch(
        client_, link_, [&](const auto& known) { changes += static_cast<int>(known.keys.size()); },
        clock, {});
    while (asked_ == 0) std::this_thread::sleep_for(milliseconds(5));
    EXPECT_EQ(changes, 0);
    status_ = 200;
    const auto last = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (changes == 0 && std::chrono::steady_clock::now() < last) {
      std::this_thread::sleep_for(milliseconds(10));
    }
  }
  EXPECT_EQ(changes, 1);
}

}  // namespace
}  // namespace alga::runner
