#include "blob/remote_object.h"

#include <string>
#include <thread>

namespace alga::blob {
namespace {

bool is_worth_another_try(const Result<ObjectResponse>& outcome) {
  if (!outcome) return outcome.error().code == "blob.unavailable";
  return outcome->status == 429 || outcome->status >= 500;
}

}  // namespace

void RetryPolicy::wait(std::chrono::milliseconds time) const {
  if (pause) return pause(time);
  std::this_thread::sleep_for(time);
}

domain::ByteSink discard() {
  return [](ByteSpan) -> Status { return {}; };
}

Result<ObjectResponse> send_with_retries(ObjectTransport& transport,
                                         const std::function<ObjectRequest()>& make,
                                         const RetryPolicy& policy, std::uint64_t max_bytes,
                                         domain::ByteSink sink) {
  bool delivered = false;
  domain::ByteSink watched = [&delivered, &sink](ByteSpan piece) -> Status {
    delivered = delivered || !piece.empty();
    return sink(piece);
  };
  std::chrono::milliseconds pause = policy.first_pause;
  for (int attempt = 1;; ++attempt) {
    auto outcome = transport.send(make(), max_bytes, watched);
    if (!is_worth_another_try(outcome) || delivered || attempt >= policy.attempts) return outcome;
    if (transport.is_aborted()) return outcome;
    policy.wait(pause);
    pause *= 2;
  }
}

std::string s3_error_code(std::string_view body) {
  constexpr std::string_view kOpen = "<Code>";
  const std::size_t begin = body.find(kOpen);
  if (begin == std::string_view::npos) return {};
  const std::string_view rest = body.substr(begin + kOpen.size());
  std::string code;
  for (const char c : rest.substr(0, rest.find('<'))) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter || code.size() == 64) break;
    code += c;
  }
  return code;
}

Error remote_error(const ObjectResponse& response) {
  const std::string code = s3_error_code(response.error_body);
  const std::string text = "the bundle store answered " + std::to_string(response.status) +
                           (code.empty() ? "" : " " + code);
  if (code == "NoSuchBucket") return {Kind::unavailable, "blob.bucket_missing", text};
  if (response.status == 404 || response.status == 410) {
    return {Kind::not_found, "blob.not_found", text};
  }
  if (response.status == 401 || response.status == 403 || response.status == 405) {
    return {Kind::denied, "blob.denied", text};
  }
  return {Kind::unavailable, "blob.unavailable", text};
}

}  // namespace alga::blob
