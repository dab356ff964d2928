#include "vault/http_broker.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/bytes.h"
#include "crypto/sealed_box.h"
#include "json/decode.h"

namespace alga::vault {
namespace {

/// A megabyte of secrets, sealed, as base64, with room for the rest.
constexpr std::uint64_t kMaxAnswer = 2U << 20U;

std::unexpected<Error> unavailable(std::string why) {
  return fail({Kind::unavailable, "secret.broker_unavailable", std::move(why), 1});
}

/// The code of `{"error":{"code",…}}`, for messages.
std::string code_of(const domain::HttpResponse& response) {
  const auto document = json::parse(response.body.value_or(""));
  const auto* error =
      document && document->is_object() ? document->get_object().if_contains("error") : nullptr;
  const auto* code =
      error != nullptr && error->is_object() ? error->get_object().if_contains("code") : nullptr;
  return code != nullptr && code->is_string() ? std::string(code->get_string())
                                              : std::to_string(response.status);
}

Result<BrokeredSecrets> read_answer(const std::string& body, const crypto::BoxKeyPair& key) {
  const auto malformed = [] { return unavailable("the broker's answer has not the right form"); };
  const auto document = json::Document::parse(body, {.max_bytes = kMaxAnswer, .max_depth = 4});
  if (!document) return malformed();
  json::Object root = document->root();
  const auto sealed_text = root.string("sealed_b64");
  auto version = root.string("version", 256);
  if (!sealed_text || !version) return malformed();
  const auto sealed = base64_decode(*sealed_text);
  if (!sealed) return malformed();
  auto json = key.open(as_bytes(*sealed));
  if (!json) return malformed();
  return BrokeredSecrets{.json = std::move(*json), .version = std::move(*version)};
}

}  // namespace

HttpBroker::HttpBroker(Options options, egress::HttpClient& client)
    : options_(std::move(options)), client_(client) {
  while (options_.url.ends_with('/')) options_.url.pop_back();
}

Result<BrokeredSecrets> HttpBroker::redeem(const domain::SecretEnvelope& envelope,
                                           const domain::EnvelopeBinding& binding) {
  const crypto::BoxKeyPair key = crypto::BoxKeyPair::generate();
  const boost::json::object body{{"token", envelope.ciphertext_b64},
                                 {"tenant", binding.tenant.str()},
                                 {"install", binding.install.str()},
                                 {"version", envelope.version.value_or("")},
                                 {"public_key", key.public_key().base64()}};
  const auto response = client_.send_blocking({.method = "POST",
                                               .url = options_.url + "/internal/secrets/redeem",
                                               .headers = {{"content-type", "application/json"}},
                                               .body = boost::json::serialize(body),
                                               .timeout = options_.timeout,
                                               .max_response_bytes = kMaxAnswer,
                                               .tls = options_.tls});
  if (!response) return unavailable(std::string(response.error().code));
  if (response->status >= 500 || response->status == 429) return unavailable(code_of(*response));
  if (response->status != 200) {
    return fail(Kind::denied, "secret.token_refused",
                "the broker refuses the token: " + code_of(*response));
  }
  return read_answer(response->body.value_or(""), key);
}

}  // namespace alga::vault
