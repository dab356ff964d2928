#include "runner/control_plane_link.h"

#include <ctime>
#include <optional>
#include <utility>

#include "async/thread_name.h"
#include "domain/grant.h"
#include "json/decode.h"

namespace alga::runner {
namespace {

constexpr std::chrono::seconds between_answers{30};
constexpr std::chrono::seconds between_attempts{1};
constexpr std::size_t most_keys = 100;
constexpr std::uint64_t longest_answer = 64U << 10U;

Result<egress::ClientRequest> request_to(const ControlPlaneLink& link, std::string_view path) {
  egress::ClientRequest request{.url = link.url + std::string(path),
                                .headers = {{"accept", "application/json"}},
                                .timeout = link.timeout,
                                .max_response_bytes = longest_answer,
                                .tls = link.tls};
  TRY(const Secret token, link.token());
  if (!token.empty()) {
    request.headers.push_back({"x-runner-auth", std::string(token.reveal())});
  }
  return request;
}

/// `Sat, 21 Nov 2026 04:10:52 GMT` (RFC 9110 section 5.6.7).
std::optional<WallTime> parse_http_date(const std::string& text) {
  std::tm parts{};
  const char* rest = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (rest == nullptr || *rest != '\0') return std::nullopt;
  return WallTime{std::chrono::seconds{::timegm(&parts)}};
}

std::string said(const domain::HttpResponse& response) {
  return "the control plane answered " + std::to_string(response.status);
}

std::string why(const Error& error) { return std::string(error.code) + ": " + error.message; }

std::vector<crypto::PublicKey> good_keys(std::vector<json::Object>& items) {
  std::vector<crypto::PublicKey> keys;
  for (json::Object& item : items) {
    auto text = item.string("public_key", 128);
    if (auto key = crypto::PublicKey::from_base64(text.value_or(""))) keys.push_back(*key);
  }
  return keys;
}

std::unexpected<Error> no_keys(std::string why) {
  return fail(Kind::unavailable, "grant.keys_unavailable", std::move(why));
}

}  // namespace

Status deliver_records(egress::HttpClient& client, const ControlPlaneLink& link,
                       std::string_view lines) {
  TRY(egress::ClientRequest request, request_to(link, "/internal/records"));
  request.method = "POST";
  request.headers.push_back({"content-type", "application/x-ndjson"});
  request.body = std::string(lines);
  auto response = client.send_blocking(std::move(request));
  if (!response) {
    return fail(Kind::unavailable, "records.unavailable", why(response.error()));
  }
  if (response->status >= 200 && response->status < 300) return {};
  const bool about_them =
      response->status == 400 || response->status == 413 || response->status == 422;
  if (about_them) return fail(Kind::invalid, "records.refused", said(*response));
  return fail(Kind::unavailable, "records.unavailable", said(*response));
}

Result<GrantKeys> fetch_grant_keys(egress::HttpClient& client, const ControlPlaneLink& link) {
  TRY(egress::ClientRequest request, request_to(link, "/internal/grant-keys"));
  auto response = client.send_blocking(std::move(request));
  if (!response) return no_keys(why(response.error()));
  if (response->status != 200) return no_keys(said(*response));
  auto document = json::Document::parse(response->body.value_or(""));
  if (!document) return no_keys("the answer is not JSON");
  json::Object root = document->root();
  auto listed = root.objects("keys", most_keys);
  if (!listed) return no_keys(listed.error().message);
  GrantKeys answer{.keys = good_keys(*listed), .broker_keys = {}, .told = {}};
  if (auto brokers = root.objects("broker_keys", most_keys)) {
    answer.broker_keys = good_keys(*brokers);
  }
  if (answer.keys.empty()) return no_keys("the answer has no key");
  if (auto date = domain::find_header(response->headers, "date")) {
    answer.told = parse_http_date(std::string(*date));
  }
  return answer;
}

GrantKeyWatch::GrantKeyWatch(egress::HttpClient& client, ControlPlaneLink link, Changed changed,
                             const Clock& clock, Logger log)
    : client_(client),
      link_(std::move(link)),
      changed_(std::move(changed)),
      clock_(clock),
      log_(std::move(log)) {
  thread_ = std::thread([this] {
    async::name_this_thread("grant-keys");
    run();
  });
}

GrantKeyWatch::~GrantKeyWatch() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void GrantKeyWatch::run() {
  bool complained = false;
  while (true) {
    const SteadyTime asked = clock_.steady();
    const auto keys = fetch_grant_keys(client_, link_);
    if (keys) {
      changed_(*keys);
      if (const auto& told = keys->told) {
        compare_clocks(*told,
                       std::chrono::ceil<std::chrono::milliseconds>(clock_.steady() - asked));
      }
      if (complained) log_.info("the keys of grants are known again");
      complained = false;
    } else if (!complained) {
      complained = true;
      log_.warn("the keys of grants could not be asked for",
                {{"code", keys.error().code}, {"reason", keys.error().message}});
    }
    std::unique_lock lock(mutex_);
    const auto pause = keys ? between_answers : between_attempts;
    if (wake_.wait_for(lock, pause, [this] { return stop_; })) return;
  }
}

void GrantKeyWatch::compare_clocks(WallTime told, std::chrono::milliseconds took) {
  // `told` is of a moment while it was asked, cut to a second.
  const std::chrono::milliseconds ahead = clock_.wall() - told;
  const auto earliest = ahead - took - std::chrono::seconds{1};
  const Skew skew = earliest > domain::grant_clock_skew ? Skew::ahead
                    : ahead < -domain::grant_clock_skew ? Skew::behind
                                                        : Skew::none;
  if (skew == std::exchange(skew_, skew)) return;
  if (skew == Skew::none)
    return log_.info("the clocks of this machine and of the control plane agree again");
  log_.error("the clocks of this machine and of the control plane differ: grants are refused",
             {{"code", "clock.skewed"},
              {"seconds_ahead", std::chrono::duration<double>(ahead).count()},
              {"what_to_do", "correct the one that is wrong (timedatectl)"}});
}

}  // namespace alga::runner
