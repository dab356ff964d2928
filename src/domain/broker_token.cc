#include "domain/broker_token.h"

#include <algorithm>
#include <boost/json/object.hpp>

#include "base/bytes.h"
#include "domain/envelope.h"
#include "json/decode.h"

namespace alga::domain {
namespace {

constexpr std::string_view kLabel = "alga-broker-token:v1.";
constexpr std::string_view kAudience = "runner-pool";
constexpr std::size_t kLongestToken = 4U << 10U;
constexpr std::size_t kLongestText = 256;
/// Between the clocks of two control planes.
constexpr std::chrono::seconds kSkew{5};

std::unexpected<Error> invalid_token() {
  return fail(Kind::denied, "broker.token_invalid", "not a token of this platform");
}

std::string signed_text(std::string_view first_part) {
  return std::string(kLabel) + std::string(first_part);
}

std::int64_t milliseconds(WallTime time) { return time.time_since_epoch().count(); }
WallTime time_of(std::int64_t milliseconds) {
  return WallTime{std::chrono::milliseconds{milliseconds}};
}

struct Payload {
  std::string key_id;
  BrokerToken token;
};

Result<Payload> read_payload(std::string_view text) {
  // The year 9999; what is later does not fit a time.
  constexpr std::int64_t last = 253'402'300'799'000;
  TRY(json::Document document, json::Document::parse(text));
  json::Object root = document.root();
  TRY(std::string audience, root.string("aud", kLongestText));
  TRY(std::string key_id, root.string("kid", kLongestText));
  TRY(std::string id, root.string("jti", kLongestText));
  TRY(std::string tenant_text, root.string("tenant", kLongestText));
  TRY(std::string install_text, root.string("install", kLongestText));
  TRY(std::string version, root.string("version", kLongestText));
  TRY(std::int64_t issued, root.integer("iat", 0, last));
  TRY(std::int64_t expires, root.integer("exp", 0, last));
  TRY_VOID(root.finish());
  auto tenant = TenantId::parse(tenant_text);
  auto install = InstallId::parse(install_text);
  if (audience != kAudience || !tenant || !install || !is_identifier(id)) return invalid_token();
  return Payload{.key_id = key_id,
                 .token = {id, *tenant, *install, version, time_of(issued), time_of(expires)}};
}

}  // namespace

std::string sign_broker_token(const BrokerToken& token, const crypto::SigningKey& key) {
  const boost::json::object payload{
      {"aud", kAudience},
      {"exp", milliseconds(token.expires)},
      {"iat", milliseconds(token.issued)},
      {"install", token.install.str()},
      {"jti", token.id},
      {"kid", key.public_key().id()},
      {"tenant", token.tenant.str()},
      {"version", token.version},
  };
  std::string text = base64url_encode(as_bytes(json::canonical(payload)));
  const crypto::Signature signature = key.sign(as_bytes(signed_text(text)));
  return text + '.' + base64url_encode(signature);
}

Result<BrokerToken> verify_broker_token(std::string_view text,
                                        std::span<const crypto::PublicKey> keys, WallTime now) {
  const std::size_t dot = text.find('.');
  if (text.size() > kLongestToken || dot == std::string_view::npos) return invalid_token();
  const auto payload_text = base64url_decode(text.substr(0, dot));
  const auto signature = base64url_decode(text.substr(dot + 1));
  if (!payload_text || !signature) return invalid_token();
  // The key id is read before the signature is checked, and used for nothing but finding the key.
  const auto payload = read_payload(*payload_text);
  if (!payload) return invalid_token();
  const auto key = std::ranges::find(keys, payload->key_id, &crypto::PublicKey::id);
  const bool signed_by_us =
      key != keys.end() &&
      key->verify(as_bytes(signed_text(text.substr(0, dot))), as_bytes(*signature));
  if (!signed_by_us) return invalid_token();
  const BrokerToken& token = payload->token;
  const auto life = token.expires - token.issued;
  if (life > EnvelopePolicy{}.longest_broker_life || token.issued > now + kSkew) {
    return invalid_token();
  }
  if (token.expires <= now) {
    return fail(Kind::denied, "broker.token_expired", "the token has expired");
  }
  return token;
}

}  // namespace alga::domain
