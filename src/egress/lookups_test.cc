// What becomes of lookups whose request has ended: a resolver that hangs is put in the place of the
// system's, for names below `.hung.test`.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "egress/testing_client.h"
#include "egress/testing_upstream.h"

namespace alga::egress {
namespace {

using namespace std::chrono_literals;

/// Threads of curl that are inside of getaddrinfo().
class HungResolver {
 public:
  void hang() {
    std::unique_lock lock(mutex_);
    most_ = std::max(most_, ++hanging_);
    changed_.notify_all();
    changed_.wait(lock, [this] { return released_; });
    --hanging_;
    changed_.notify_all();
  }
  void hold() {
    const std::scoped_lock lock(mutex_);
    released_ = false;
    most_ = 0;
  }
  void wait_for(int hanging) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return hanging_ == hanging; });
  }
  /// Lets them go and waits until they have.
  void release() {
    std::unique_lock lock(mutex_);
    released_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return hanging_ == 0; });
  }
  int most() {
    const std::scoped_lock lock(mutex_);
    return most_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int hanging_ = 0, most_ = 0;
  bool released_ = true;
};

HungResolver& resolver() {
  static HungResolver one;
  return one;
}

}  // namespace
}  // namespace alga::egress

extern "C" __attribute__((visibility("default"))) int getaddrinfo(const char* name,
                                                                  const char* service,
                                                                  const addrinfo* hints,
                                                                  addrinfo** found) {
  using Lookup = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto system = reinterpret_cast<Lookup>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string_view asked = name == nullptr ? "" : name;
  if (asked.ends_with(".hung.test")) {
    alga::egress::resolver().hang();
    return system("127.0.0.1", service, hints, found);
  }
  if (asked.ends_with(".quick.test")) return system("127.0.0.1", service, hints, found);
  return system(name, service, hints, found);
}

namespace alga::egress {
namespace {

/// Answers any number of requests on each connection.
void answer_all(TestingUpstream::Connection& connection) {
  while (connection.read_head()) {
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
  }
}

class Lookups : public ::testing::Test {
 protected:
  static constexpr int places = 3;

  Lookups() { resolver().hold(); }
  ~Lookups() override { resolver().release(); }

  domain::EgressRequest request(const std::string& name, std::chrono::milliseconds life = 60s) {
    domain::EgressRequest request =
        request_to("http://" + name + ":" + std::to_string(upstream_.port()) + "/",
                   loopback(upstream_.port()));
    request.deadline = std::chrono::steady_clock::now() + life;
    return request;
  }
  std::string name() { return "name-" + std::to_string(++names_) + ".hung.test"; }

  TestingUpstream upstream_{answer_all};
  int names_ = 0;
  TestingClient client_{{}, {.max_lookups = places, .max_pool_lookups = places}};
};

TEST_F(Lookups, OfCancelledRequestsKeepTheirPlaceUntilTheResolverIsDone) {
  for (int round = 0; round < 3; ++round) {
    std::vector<std::uint64_t> ids(places);
    std::vector<std::future<Result<domain::HttpResponse>>> asked;
    for (std::uint64_t& id : ids) asked.push_back(client_.start(request(name()), &id));
    if (round == 0) resolver().wait_for(places);
    for (const std::uint64_t id : ids) client_.egress().cancel(id);
    for (auto& each : asked) EXPECT_EQ(each.get().error().code, "egress.cancelled");
    for (const std::uint64_t id : ids) client_.egress().cancel(id);
  }
  EXPECT_EQ(client_.code(request("a.quick.test", 50ms)), "egress.timeout") << "no place is left";
  EXPECT_EQ(resolver().most(), places);
  resolver().release();
  EXPECT_EQ(client_.code(request("a.quick.test")), "ok");
  EXPECT_EQ(upstream_.accepted(), 1) << "what nobody waits for is not connected to";
}

TEST_F(Lookups, OfRequestsWhoseTimeIsOverKeepTheirPlaceToo) {
  std::vector<std::future<Result<domain::HttpResponse>>> asked;
  for (int i = 0; i < 3 * places; ++i) {
    domain::EgressRequest late = request(name(), 50ms);
    late.http.method = "POST";
    late.http.body = std::string(100'000, 'x');
    asked.push_back(client_.start(std::move(late)));
  }
  for (auto& each : asked) EXPECT_EQ(each.get().error().code, "egress.timeout");
  EXPECT_EQ(client_.code(request("a.quick.test", 2s)), "egress.timeout") << "curl's second is over";
  EXPECT_EQ(resolver().most(), places);
  resolver().release();
  EXPECT_EQ(client_.code(request("a.quick.test")), "ok");
  EXPECT_EQ(upstream_.accepted(), 1);
}

TEST_F(Lookups, OfOneTenantLeaveOthersTheirs) {
  TestingClient client({}, {.max_lookups = 2 * places, .max_pool_lookups = places});
  std::vector<std::future<Result<domain::HttpResponse>>> asked;
  for (int i = 0; i < 3 * places; ++i) asked.push_back(client.start(request(name(), 50ms)));
  for (auto& each : asked) EXPECT_EQ(each.get().error().code, "egress.timeout");
  domain::EgressRequest other = request("a.quick.test");
  other.partition = "another";
  EXPECT_EQ(client.code(std::move(other)), "ok");
}

TEST_F(Lookups, OfAllInstallsOfATenantLeaveOthersTheirs) {
  TestingClient client(
      {}, {.max_lookups = 2 * places, .max_pool_lookups = places, .max_owner_lookups = places + 1});
  std::vector<std::future<Result<domain::HttpResponse>>> asked;
  for (int i = 0; i < 4 * places; ++i) {
    domain::EgressRequest one = request(name());
    one.partition = i % 2 == 0 ? "t1/install-1/x" : "t1/install-2/x";
    asked.push_back(client.start(std::move(one)));
  }
  resolver().wait_for(places + 1);
  domain::EgressRequest other = request("a.quick.test", 10s);
  other.partition = "t2/install-1/x";
  EXPECT_EQ(client.code(std::move(other)), "ok");
  EXPECT_EQ(resolver().most(), places + 1);
  resolver().release();
  for (auto& each : asked) EXPECT_TRUE(each.get()) << "in turn";
}

/// Until released, those who have sent a request wait.
class Held {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return released_; });
  }
  void wait_for_one() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0; });
  }
  void release() {
    const std::scoped_lock lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool released_ = false;
};

TEST(Connections, ThatAreAllInUseAreWaitedForWithoutAPlaceAmongTheLookups) {
  Held held;
  TestingUpstream slow([&held](TestingUpstream::Connection& connection) {
    while (connection.read_head()) {
      held.pass();
      connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    }
  });
  TestingUpstream quick(answer_all);
  const auto to = [](const TestingUpstream& upstream, const char* partition) {
    domain::EgressRequest request = request_to(
        "http://127.0.0.1:" + std::to_string(upstream.port()) + "/", loopback(upstream.port()));
    request.deadline = std::chrono::steady_clock::now() + 10s;
    request.partition = partition;
    return request;
  };
  TestingClient client({}, {.max_lookups = 2, .max_pool_lookups = 2, .max_pool_connections = 1});
  std::vector<std::future<Result<domain::HttpResponse>>> asked;
  for (int i = 0; i < 5; ++i) asked.push_back(client.start(to(slow, "t1/i/x")));
  held.wait_for_one();
  EXPECT_EQ(client.code(to(quick, "t2/i/x")), "ok");
  held.release();
  for (auto& each : asked) EXPECT_TRUE(each.get());
  EXPECT_EQ(slow.accepted(), 1);
}

TEST_F(Lookups, HoldNobodyUpWhenTheLoopEnds) {
  std::future<Result<domain::HttpResponse>> waited, cancelled;
  {
    TestingClient client;
    std::uint64_t id = 0;
    waited = client.start(request(name()));
    cancelled = client.start(request(name()), &id);
    resolver().wait_for(2);
    client.egress().cancel(id);
    EXPECT_EQ(cancelled.get().error().code, "egress.cancelled");
  }
  EXPECT_EQ(waited.get().error().code, "egress.cancelled");
}

}  // namespace
}  // namespace alga::egress
