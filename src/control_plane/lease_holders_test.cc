#include "control_plane/lease_holders.h"

#include <thread>

#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using namespace std::chrono_literals;
using testing::Platform;
using testing::Reply;

/// A control plane, and gateways of other processes on the same database.
class Leases : public sql::testing::OnEveryDatabase {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    near_ = std::make_unique<Platform>(open(), [](Options& options) {
      options.remote_gateways = true;
      options.lease = kLease;
    });
    near_->publish(near_->publisher("acme"),
                   Platform::bundle(Platform::manifest("hello", "1.0.0")));
    admin_ = near_->admin_of("t1");
    Reply made = near_->call("POST", "/api/v1/installs", admin_, {{{"extension", "acme.hello"}}});
    EXPECT_EQ(made.status, 201) << made.text;
    path_ = "/api/v1/installs/" + made.string("/install/id");
  }

  /// What a process with the role of a gateway has of the control plane.
  struct Gateway {
    explicit Gateway(std::unique_ptr<sql::Database> shared,
                     std::chrono::milliseconds lease = kLease)
        : database(std::move(shared)) {
      Dependencies deps;
      deps.database = database.get();
      deps.blocking = &pool;
      deps.clock = &clock;
      deps.random = &random;
      deps.metrics = &metrics;
      deps.options.gateway_only = true;
      deps.options.lease = lease;
      plane = std::move(*ControlPlane::create(std::move(deps)));
    }
    ~Gateway() { plane->stop(sql::within(10s)); }
    [[nodiscard]] domain::ChangeFeed::View view() const { return plane->change_feed()->view(); }
    void wait_until_it_holds() const {
      while (clock.steady() >= view().holding_until) std::this_thread::sleep_for(1ms);
    }

    std::unique_ptr<sql::Database> database;
    async::BlockingPool pool{2, 100, "gateway"};
    SystemClock clock;
    SystemRandom random;
    NoMetrics metrics;
    std::unique_ptr<ControlPlane> plane;
  };

  /// Changes the install and waits for the acknowledgement; nothing moves the clock of the control
  /// plane meanwhile, so that no lease runs out there.
  void change() { EXPECT_EQ(near_->call("POST", path_ + "/disable", admin_).status, 200); }
  /// Nobody knows when the control plane began to wait.
  void advance_until(const std::atomic<bool>& acknowledged) {
    while (!acknowledged) {
      near_->clock().advance(1ms);
      std::this_thread::sleep_for(100us);
    }
  }
  std::int64_t holders() {
    return database_
        ->read([](sql::Executor& sql) { return sql.find("SELECT count(*) FROM lease_holders"); })
        .value()
        ->at<std::int64_t>(0);
  }

  /// Milliseconds since 1970, until which a holder may serve.
  std::int64_t end_of(const char* holder) {
    return database_
        ->read([&](sql::Executor& sql) {
          return sql.find("SELECT expires_at FROM lease_holders WHERE id = $1", {holder});
        })
        .value()
        ->at<std::int64_t>(0);
  }
  /// By the clock that the databases of tests have, too.
  static std::int64_t now() {
    return std::chrono::floor<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }

  static constexpr std::chrono::milliseconds kLease{600};
  std::unique_ptr<Platform> near_;
  std::string admin_, path_;
};

TEST_P(Leases, AcknowledgeAtOnceWhenNobodyHoldsAny) {
  change();
  EXPECT_EQ(holders(), 0);
}

TEST_P(Leases, AcknowledgeAsSoonAsEveryGatewayHasSeenTheChange) {
  Gateway first(open());
  Gateway second(open());
  first.wait_until_it_holds();
  second.wait_until_it_holds();
  const auto before = std::pair{first.view().epoch, second.view().epoch};
  // No lease ends meanwhile: what is waited for are their confirmations.
  change();
  EXPECT_GT(first.view().epoch, before.first);
  EXPECT_GT(second.view().epoch, before.second);
}

TEST_P(Leases, WaitForAGatewayOfALongerLeaseUntilThatIsOver) {
  Gateway gateway(open(), longest_lease);
  gateway.wait_until_it_holds();
  // As another gateway that was cut off at this moment leaves its row.
  const auto left = near_->database().write([](sql::Executor& sql) {
    return sql.execute(
        "INSERT INTO lease_holders (id, confirmed_seq, expires_at) SELECT 'stalled', -1, "
        "expires_at FROM lease_holders");
  });
  ASSERT_TRUE(left);
  std::atomic<bool> acknowledged = false;
  std::jthread administrator([&] {
    change();
    acknowledged = true;
  });
  // The lease of the control plane is over by its clock long before the row is by the database's;
  // then the clock stands still, so that the longest lease is not over.
  for (auto passed = 0ms; !acknowledged; std::this_thread::sleep_for(3ms)) {
    if (passed >= longest_lease) continue;
    near_->clock().advance(10ms);
    passed += 10ms;
  }
  EXPECT_LE(end_of("stalled"), now() + 2) << "until then it may be serving";
}

TEST_P(Leases, WaitForNoRowBeyondTheLongestLease) {
  {
    auto held = near_->database().write([](sql::Executor& sql) {
      return sql.execute(
          "INSERT INTO lease_holders (id, confirmed_seq, expires_at) VALUES "
          "('stalled', 0, 9999999999999)");
    });
    ASSERT_TRUE(held);
  }
  std::atomic<bool> acknowledged = false;
  std::jthread administrator([&] {
    change();
    acknowledged = true;
  });
  std::this_thread::sleep_for(200ms);
  EXPECT_FALSE(acknowledged) << "the clock of the control plane stands still";
  near_->clock().advance(longest_lease);
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(acknowledged) << "a tenth more than the lease: clocks differ in their speed";
  advance_until(acknowledged);
}

TEST_P(Leases, WaitForWhoeverAsksWithoutConfirming) {
  const auto ask = [&](const testing::HeaderMap& headers) {
    testing::HeaderMap all{{"x-runner-auth", "token-of-config"}};
    all.insert(headers.begin(), headers.end());
    EXPECT_EQ(near_
                  ->send("POST", "/internal/runner/install-config", "",
                         R"({"tenantId":"t1","extensionId":"acme.hello"})", all)
                  .status,
              200);
  };
  ask({{domain::lease_holder_header, "1"}});
  EXPECT_EQ(holders(), 0) << "who confirms changes has a row of its own";
  const std::int64_t asked = now();
  ask({});
  EXPECT_EQ(holders(), 1);
  EXPECT_GE(end_of("anonymous"), asked + 2 * longest_lease.count())
      << "for whoever asks within a lease, and his lease, which may be longer than ours";
  std::atomic<bool> acknowledged = false;
  std::jthread administrator([&] {
    change();
    acknowledged = true;
  });
  std::this_thread::sleep_for(200ms);
  EXPECT_FALSE(acknowledged);
  near_->clock().advance(longest_lease);
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(acknowledged);
  advance_until(acknowledged);
}

TEST_P(Leases, WaitForGatewaysThatConfirmThoughNoSettingSaysThatThereAreAny) {
  Platform quiet(open(), [](Options& options) { options.lease = kLease; }, near_->secrets());
  const auto write = [&](const char* text) {
    ASSERT_TRUE(near_->database().write([&](sql::Executor& sql) { return sql.execute(text); }));
  };
  write(
      "INSERT INTO lease_holders (id, confirmed_seq, expires_at) VALUES ('late', -1, "
      "9999999999999)");
  std::atomic<bool> acknowledged = false;
  std::jthread administrator([&] {
    EXPECT_EQ(quiet.call("POST", path_ + "/disable", admin_).status, 200);
    acknowledged = true;
  });
  std::this_thread::sleep_for(200ms);
  EXPECT_FALSE(acknowledged) << "it may be serving from before the change";
  write("UPDATE lease_holders SET confirmed_seq = 999999");
  // The clock of the control plane stands still: nothing but that confirmation ends the wait.
}

TEST_P(Leases, AGatewayThatEndsGivesItsRowBack) {
  {
    Gateway gateway(open());
    gateway.wait_until_it_holds();
    EXPECT_EQ(holders(), 1);
  }
  EXPECT_EQ(holders(), 0);
}

TEST_P(Leases, AGatewayPromisesNothingWhileItCannotAskTheDatabase) {
  Gateway gateway(open());
  gateway.wait_until_it_holds();
  auto moved = database_->write([](sql::Executor& sql) {
    return sql.script("ALTER TABLE lease_holders RENAME TO lease_holders_away");
  });
  ASSERT_TRUE(moved) << moved.error().message;
  const SteadyTime asked = gateway.clock.steady();
  while (gateway.clock.steady() < gateway.view().holding_until) std::this_thread::sleep_for(1ms);
  EXPECT_LE(gateway.view().holding_until, asked + kLease) << "what it had asked before";
  ASSERT_TRUE(database_->write([](sql::Executor& sql) {
    return sql.script("ALTER TABLE lease_holders_away RENAME TO lease_holders");
  }));
  gateway.wait_until_it_holds();
}

ALGA_ON_EVERY_DATABASE(Leases);

}  // namespace
}  // namespace alga::control_plane
