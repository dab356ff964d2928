#include "control_plane/http_warm_up_target.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <future>
#include <utility>

#include "domain/warmup_token.h"
#include "json/decode.h"

namespace alga::control_plane {
namespace {

constexpr std::uint64_t kLongestAnswer = 64U << 10U;

/// `{"error":{"code"}}` of a refusal, for the log; only its form is believed.
std::string refusal_of(const domain::HttpResponse& response) {
  std::string said = "the runner answered " + std::to_string(response.status);
  auto document = json::Document::parse(response.body.value_or(""));
  if (!document || !document->value().is_object()) return said;
  auto error = document->root().optional_object("error");
  if (!error || !*error) return said;
  auto code = (*error)->string("code", 128);
  if (code && is_identifier(*code)) said += " " + *code;
  return said;
}

}  // namespace

HttpWarmUpTarget::HttpWarmUpTarget(Options options, egress::HttpClient& client)
    : options_(std::move(options)), client_(client) {
  while (options_.url.ends_with('/')) options_.url.pop_back();
}

Result<domain::HttpResponse> HttpWarmUpTarget::send(egress::ClientRequest request) {
  std::promise<Result<domain::HttpResponse>> promise;
  auto answer = promise.get_future();
  std::uint64_t id = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (aborted_) return fail(Kind::unavailable, "egress.cancelled", "shutting down");
    id = client_.send(std::move(request), [promise = std::move(promise)](auto outcome) mutable {
      promise.set_value(std::move(outcome));
    });
    under_way_.insert(id);
  }
  Result<domain::HttpResponse> outcome = answer.get();
  const std::scoped_lock lock(mutex_);
  under_way_.erase(id);
  return outcome;
}

void HttpWarmUpTarget::abort() noexcept {
  const std::scoped_lock lock(mutex_);
  aborted_ = true;
  for (const std::uint64_t id : under_way_) client_.cancel(id);
}

Result<domain::WarmUpTarget::Answer> HttpWarmUpTarget::warm_up(const domain::WarmUpOrder& order) {
  const boost::json::object body{{"content_hash", order.bundle.prefixed()}};
  egress::ClientRequest request{.method = "POST",
                                .url = options_.url + "/warmup",
                                .headers = {{"content-type", "application/json"},
                                            {std::string(domain::warmup_header), order.token}},
                                .body = boost::json::serialize(body),
                                .timeout = options_.timeout,
                                .max_response_bytes = kLongestAnswer,
                                .tls = options_.tls};
  if (options_.service_token) {
    TRY(const Secret token, options_.service_token());
    if (!token.empty()) {
      request.headers.push_back({"x-runner-service-token", std::string(token.reveal())});
    }
  }
  const auto response = send(std::move(request));
  if (!response) {
    return fail(Kind::unavailable, "runner.unreachable", std::string(response.error().code));
  }
  if (response->status == 200) return Answer::ready;
  if (response->status == 202) return Answer::compiling;
  // 422 runner.no_component: pages only.
  if (response->status == 422) return Answer::nothing;
  return fail(Kind::unavailable, "runner.unreachable", refusal_of(*response));
}

}  // namespace alga::control_plane
