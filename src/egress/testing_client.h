#pragma once

// What the tests of CurlEgress share.
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "egress/curl_egress.h"

namespace alga::egress {

/// Aborts when a rule is malformed.
inline std::shared_ptr<const domain::EgressPolicy> policy(const std::vector<std::string>& rules) {
  return std::make_shared<const domain::EgressPolicy>(domain::EgressPolicy::parse(rules).value());
}

/// Allows everything on the loopback interface.
inline std::shared_ptr<const domain::EgressPolicy> loopback(std::uint16_t port,
                                                            std::string_view scheme = "http") {
  const std::string number = std::to_string(port);
  return policy({std::string(scheme) + "://*:" + number, "cidr:127.0.0.1/32:" + number,
                 "cidr:::1/128:" + number});
}

/// A GET with ten seconds.
inline domain::EgressRequest request_to(const std::string& url,
                                        std::shared_ptr<const domain::EgressPolicy> rules) {
  return {.http = {.method = "GET", .url = url, .headers = {}, .body = std::nullopt},
          .policy = std::move(rules),
          .partition = "tenant/install",
          .deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10)};
}

/// A guest's egress with a loop of its own.
class TestingClient {
 public:
  explicit TestingClient(CurlEgressOptions options = {}, CurlLoopOptions loop = {})
      : loop_(std::make_shared<CurlLoop>(loop, metrics_)), egress_(loop_, std::move(options)) {}

  std::future<Result<domain::HttpResponse>> start(domain::EgressRequest request,
                                                  std::uint64_t* id = nullptr) {
    auto promise = std::make_shared<std::promise<Result<domain::HttpResponse>>>();
    auto future = promise->get_future();
    const std::uint64_t number = egress_.fetch(
        std::move(request),
        [promise](Result<domain::HttpResponse> outcome) { promise->set_value(outcome); });
    if (id != nullptr) *id = number;
    return future;
  }
  Result<domain::HttpResponse> fetch(domain::EgressRequest request) {
    return start(std::move(request)).get();
  }
  std::string_view code(domain::EgressRequest request) {
    auto outcome = fetch(std::move(request));
    return outcome ? "ok" : outcome.error().code;
  }
  CurlEgress& egress() { return egress_; }

 private:
  NoMetrics metrics_;
  std::shared_ptr<CurlLoop> loop_;
  CurlEgress egress_;
};

}  // namespace alga::egress
