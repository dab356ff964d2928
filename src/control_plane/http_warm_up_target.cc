#include "control_plane/http_warm_up_target.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
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
  if (!error) return said;
  std::optional<json::Object> members = *std::move(error);
  if (!members) return said;
  auto code = members->string("code", 128);
  if (code && is_identifier(*code)) said += " " + *code;
  return said;
}

Result<domain::WarmUpTarget::Answer> answer_of(const Result<domain::HttpResponse>& response) {
  using Answer = domain::WarmUpTarget::Answer;
  if (!response) {
    return fail(Kind::unavailable, "runner.unreachable", std::string(response.error().code));
  }
  if (response->status == 200) return Answer::ready;
  if (response->status == 202) return Answer::compiling;
  // 422 runner.no_component: pages only.
  if (response->status == 422) return Answer::nothing;
  return fail(Kind::unavailable, "runner.unreachable", refusal_of(*response));
}

}  // namespace

HttpWarmUpTarget::HttpWarmUpTarget(Options options, egress::HttpClient& client)
    : options_(std::move(options)), client_(client) {
  while (options_.url.ends_with('/')) options_.url.pop_back();
}

std::future<HttpWarmUpTarget::Outcome> HttpWarmUpTarget::start(egress::ClientRequest request,
                                                               std::uint64_t& id) {
  std::promise<Outcome> promise;
  std::future<Outcome> answer = promise.get_future();
  const std::scoped_lock lock(mutex_);
  if (aborted_) {
    promise.set_value(fail(Kind::unavailable, "egress.cancelled", "shutting down"));
    return answer;
  }
  id = client_.send(std::move(request), [promise = std::move(promise)](auto outcome) mutable {
    promise.set_value(std::move(outcome));
  });
  under_way_.insert(id);
  return answer;
}

std::vector<HttpWarmUpTarget::Outcome> HttpWarmUpTarget::send(
    const egress::ClientRequest& request, const std::vector<std::string>& addresses) {
  std::vector<std::uint64_t> ids(std::max<std::size_t>(addresses.size(), 1));
  std::vector<std::future<Outcome>> answers;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    egress::ClientRequest one = request;
    if (!addresses.empty()) one.address = addresses[i];
    answers.push_back(start(std::move(one), ids[i]));
  }
  std::vector<Outcome> outcomes;
  for (std::future<Outcome>& answer : answers) outcomes.push_back(answer.get());
  const std::scoped_lock lock(mutex_);
  for (const std::uint64_t id : ids) under_way_.erase(id);
  return outcomes;
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
  const auto addresses = options_.addresses(options_.url);
  if (!addresses) return fail(Kind::unavailable, "runner.unreachable", addresses.error().message);
  const std::vector<Outcome> outcomes = send(request, *addresses);
  std::vector<std::string> failures;
  Answer together = Answer::nothing;
  for (const Outcome& outcome : outcomes) {
    const Result<Answer> answer = answer_of(outcome);
    if (!answer) {
      failures.push_back(answer.error().message);
    } else if (*answer == Answer::compiling || together == Answer::nothing) {
      together = *answer;
    }
  }
  if (failures.empty()) return together;
  std::string reason = std::move(failures.front());
  if (outcomes.size() > 1) {
    reason = std::to_string(failures.size()) + " of " + std::to_string(outcomes.size()) +
             " runners: " + reason;
  }
  return fail(Kind::unavailable, "runner.unreachable", std::move(reason));
}

}  // namespace alga::control_plane
