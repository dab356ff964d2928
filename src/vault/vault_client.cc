#include "vault/vault_client.h"

#include <array>
#include <boost/json/serialize.hpp>
#include <thread>

#include "base/bytes.h"

namespace alga::vault {
namespace {

constexpr std::chrono::seconds kRest{1};
/// Between attempts to renew a token that Vault does not renew.
constexpr std::chrono::seconds kRenewalPause{5};
constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::size_t kMaxErrorText = 300;
constexpr std::array<double, 9> kSeconds{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5};
constexpr std::array<std::string_view, 9> kOutcomes{"ok",          "not_found",    "denied",
                                                    "sealed",      "rate_limited", "unavailable",
                                                    "bad_request", "cas_conflict", "bad_response"};

bool are_segments(std::string_view text) {
  if (text.empty() || text.size() > 512) return false;
  bool begins = true;
  for (const char c : text) {
    if (c == '/') {
      if (begins) return false;
      begins = true;
      continue;
    }
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_' || c == '.';
    if (!fine || (begins && c == '.')) return false;
    begins = false;
  }
  return !begins;
}

/// Vault's `{"errors":["…"]}`, for messages.
std::string error_text(const std::optional<std::string>& body) {
  if (!body) return {};
  const auto document = json::parse(*body);
  if (!document || !document->is_object()) return {};
  const auto* errors = document->get_object().if_contains("errors");
  if (errors == nullptr || !errors->is_array()) return {};
  std::string text;
  for (const json::Value& error : errors->get_array()) {
    if (error.is_string()) text += (text.empty() ? "" : "; ") + std::string(error.get_string());
  }
  return std::string(utf8_prefix(text, kMaxErrorText));
}

Error response_error(const domain::HttpResponse& response) {
  const std::string text = error_text(response.body);
  switch (response.status) {
    case 400:
      if (text.contains("check-and-set")) {
        return {Kind::conflict, "vault.cas_conflict", "the secret has changed meanwhile"};
      }
      return {Kind::unprocessable, "vault.bad_request", "Vault refused the request: " + text};
    case 401:
    case 403: return {Kind::unavailable, "vault.denied", "Vault does not permit this", 5};
    case 404: return {Kind::not_found, "vault.not_found", "Vault has nothing there"};
    case 429: return {Kind::unavailable, "vault.rate_limited", "Vault asks to slow down", 1};
    case 503:
      if (text.contains("sealed")) return {Kind::unavailable, "vault.sealed", "Vault is sealed", 5};
      [[fallthrough]];
    default:
      return {Kind::unavailable, "vault.unavailable",
              "Vault answered " + std::to_string(response.status), 1};
  }
}

bool is_worth_another_try(const Error& error) {
  return error.code == "vault.unavailable" || error.code == "vault.rate_limited";
}

}  // namespace

bool is_secret_path(std::string_view text) { return are_segments(text); }

bool is_mount(std::string_view text) {
  if (!are_segments(text)) return false;
  const std::string_view first = text.substr(0, text.find('/'));
  return first != "sys" && first != "auth" && first != "identity" && first != "cubbyhole";
}

VaultClient::Series::Series(Metrics& metrics)
    : seconds(metrics.histogram("alga_vault_request_seconds",
                                "Time of one request to Vault, whatever came of it", kSeconds)) {
  for (const std::string_view outcome : kOutcomes) {
    by_outcome[outcome] = &metrics.counter("alga_vault_requests_total",
                                           "Requests to Vault, repeated ones included, by outcome",
                                           {{"outcome", outcome}});
  }
}

void VaultClient::Series::count(const Result<json::Value>& answer,
                                std::chrono::duration<double> took) noexcept {
  seconds.observe(took.count());
  std::string_view outcome = answer ? "ok" : answer.error().code;
  if (outcome.starts_with("vault.")) outcome.remove_prefix(std::string_view("vault.").size());
  const auto found = by_outcome.find(outcome);
  // What the transport calls otherwise is a Vault that could not be reached.
  (found != by_outcome.end() ? found->second : by_outcome.at("unavailable"))->add();
}

VaultClient::VaultClient(Options options, std::unique_ptr<VaultLogin> login, Transport& transport,
                         const Clock& clock)
    : options_(std::move(options)),
      login_(std::move(login)),
      transport_(transport),
      clock_(clock),
      series_(options_.metrics != nullptr ? *options_.metrics : nowhere_) {
  while (options_.address.ends_with('/')) options_.address.pop_back();
}

Result<json::Value> VaultClient::call(std::string_view method, std::string_view path,
                                      const json::Value* body) {
  TRY(std::string first_token, token());
  const Secret wiped(first_token);
  auto answer = with_retries(method, path, body, first_token);
  explicit_bzero(first_token.data(), first_token.size());
  if (answer || answer.error().code != "vault.denied") return answer;
  // The token may have been revoked or replaced under us: once more with a new one.
  forget_token();
  TRY(std::string second_token, token());
  const bool same = wiped.equals(second_token);
  if (!same) answer = with_retries(method, path, body, second_token);
  explicit_bzero(second_token.data(), second_token.size());
  return answer;
}

Result<json::Value> VaultClient::call_without_token(std::string_view method, std::string_view path,
                                                    const json::Value& body) {
  return with_retries(method, path, &body, {});
}

std::optional<Error> VaultClient::resting() const {
  const std::scoped_lock lock(rest_mutex_);
  if (!rest_until_ || clock_.steady() >= *rest_until_) return std::nullopt;
  return rest_because_;
}

void VaultClient::rest(const Error& because) {
  const std::scoped_lock lock(rest_mutex_);
  rest_until_ = clock_.steady() + kRest;
  rest_because_ = because;
}

Result<json::Value> VaultClient::with_retries(std::string_view method, std::string_view path,
                                              const json::Value* body, const std::string& token) {
  if (auto error = resting()) return fail(std::move(*error));
  std::chrono::milliseconds pause = kFirstPause;
  for (int attempts = 1;; ++attempts) {
    auto answer = attempt(method, path, body, token);
    if (answer || !is_worth_another_try(answer.error())) return answer;
    if (attempts >= options_.attempts) {
      rest(answer.error());
      return answer;
    }
    if (options_.pause) {
      options_.pause(pause);
    } else {
      std::this_thread::sleep_for(pause);
    }
    pause *= 2;
  }
}

Result<json::Value> VaultClient::attempt(std::string_view method, std::string_view path,
                                         const json::Value* body, const std::string& token) {
  const SteadyTime began = clock_.steady();
  auto answer = exchange(method, path, body, token);
  series_.count(answer, clock_.steady() - began);
  return answer;
}

Result<json::Value> VaultClient::exchange(std::string_view method, std::string_view path,
                                          const json::Value* body, const std::string& token) {
  domain::HttpRequest request{.method = std::string(method),
                              .url = options_.address + "/v1/" + std::string(path),
                              .headers = {{"x-vault-request", "true"}}};
  if (!token.empty()) request.headers.push_back({"x-vault-token", token});
  if (!options_.name_space.empty()) {
    request.headers.push_back({"x-vault-namespace", options_.name_space});
  }
  if (body != nullptr) {
    request.headers.push_back({"content-type", "application/json"});
    request.body = boost::json::serialize(*body);
  }
  auto response = transport_.send(request, options_.timeout);
  for (domain::Header& header : request.headers) {
    if (header.name == "x-vault-token") explicit_bzero(header.value.data(), header.value.size());
  }
  if (request.body) explicit_bzero(request.body->data(), request.body->size());
  if (!response) return fail(response.error());
  if (response->status == 204) return json::Value(nullptr);
  if (response->status != 200) return fail(response_error(*response));
  auto document = json::parse(response->body.value_or(""));
  if (response->body) explicit_bzero(response->body->data(), response->body->size());
  if (document && document->is_object()) return document;
  return fail(Kind::bad_gateway, "vault.bad_response", "Vault's answer is not a JSON object");
}

Result<std::string> VaultClient::token() {
  const std::scoped_lock lock(token_mutex_);
  if (login_ == nullptr) {
    return fail(Kind::unavailable, "vault.no_token", "no way to log in to Vault is configured");
  }
  if (token_ && !login_->changed() && renew_if_due()) return std::string(token_->token.reveal());
  TRY(VaultToken fresh, login_->login(*this));
  if (options_.learn_lifetimes && fresh.lifetime.count() == 0) learn_lifetime(fresh);
  accept(std::move(fresh));
  return std::string(token_->token.reveal());
}

void VaultClient::learn_lifetime(VaultToken& token) {
  std::string text(token.token.reveal());
  const auto answer = attempt("GET", "auth/token/lookup-self", nullptr, text);
  explicit_bzero(text.data(), text.size());
  if (!answer) return;
  const auto* data = answer->get_object().if_contains("data");
  if (data == nullptr || !data->is_object()) return;
  const auto* ttl = data->get_object().if_contains("ttl");
  const auto* renewable = data->get_object().if_contains("renewable");
  if (ttl == nullptr || !ttl->is_int64() || ttl->get_int64() < 0) return;
  token.lifetime = std::chrono::seconds(ttl->get_int64());
  token.renewable = renewable != nullptr && renewable->is_bool() && renewable->get_bool();
}

Status VaultClient::tend() {
  const std::scoped_lock lock(token_mutex_);
  if (!token_ || login_ == nullptr) return {};
  if (login_->changed()) return {};  // the next call logs in again
  return renew_if_due();
}

void VaultClient::accept(VaultToken token) {
  token_ = std::move(token);
  token_since_ = clock_.steady();
  renewal_tried_.reset();
}

void VaultClient::forget_token() {
  const std::scoped_lock lock(token_mutex_);
  token_.reset();
}

/// Success means that the present token may be used. Renews after two thirds of its life; a token
/// that cannot be renewed is used until nine tenths of its life.
Status VaultClient::renew_if_due() {
  const auto lifetime = token_->lifetime;
  const auto age = clock_.steady() - token_since_;
  if (lifetime.count() == 0 || age * 3 < lifetime * 2) return {};
  const bool tried = renewal_tried_ && clock_.steady() - *renewal_tried_ < kRenewalPause;
  if (token_->renewable && !tried) {
    renewal_tried_ = clock_.steady();
    const json::Value body = boost::json::object{};
    std::string current(token_->token.reveal());
    const auto answer = attempt("POST", "auth/token/renew-self", &body, current);
    explicit_bzero(current.data(), current.size());
    const auto* auth = answer ? answer->get_object().if_contains("auth") : nullptr;
    const auto* lease = auth != nullptr && auth->is_object()
                            ? auth->get_object().if_contains("lease_duration")
                            : nullptr;
    if (lease != nullptr && lease->is_int64() && lease->get_int64() > 0) {
      token_->lifetime = std::chrono::seconds(lease->get_int64());
      token_since_ = clock_.steady();
      renewal_tried_.reset();
      return {};
    }
  }
  if (age * 10 < lifetime * 9) return {};
  return fail(Kind::unavailable, "vault.no_token", "the token is at the end of its life");
}

Status VaultClient::probe() {
  domain::HttpRequest request{
      .method = "GET",
      .url = options_.address + "/v1/sys/health?standbyok=true&perfstandbyok=true",
      .headers = {{"x-vault-request", "true"}}};
  TRY(const domain::HttpResponse response,
      transport_.send(request, std::min(options_.timeout, std::chrono::milliseconds{1'000})));
  if (response.status == 200) return {};
  if (response.status == 503) {
    return fail(Kind::unavailable, "vault.sealed", "Vault is sealed");
  }
  return fail(Kind::unavailable, "vault.unavailable",
              "Vault's health is " + std::to_string(response.status));
}

}  // namespace alga::vault
