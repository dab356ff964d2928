#include "domain/warmup_token.h"

#include <boost/json/object.hpp>
#include <optional>

#include "base/bytes.h"
#include "json/decode.h"

namespace alga::domain {
namespace {

constexpr std::int64_t format_version = 1;
constexpr std::string_view signing_label = "alga-warmup:v1.";
constexpr std::size_t longest_token = 1024;
constexpr std::size_t longest_text = 128;

std::unexpected<Error> refuse(std::string_view code, std::string message) {
  return fail(Kind::unauthenticated, code, std::move(message));
}

std::string signed_text(std::string_view first_part) {
  return std::string(signing_label) + std::string(first_part);
}

struct Order {
  std::string key_id;
  ContentHash bundle;
  WallTime issued, expires;
};

Result<Order> read_order(std::string_view text) {
  constexpr std::int64_t last_second = 253'402'300'799;  // 9999-12-31
  TRY(json::Document document, json::Document::parse(text, {.max_bytes = longest_token}));
  json::Object root = document.root();
  TRY(const std::int64_t format, root.integer("v"));
  TRY(std::string key_id, root.string("kid", longest_text));
  TRY(const std::string hash, root.string("hash", longest_text));
  TRY(const std::int64_t issued, root.integer("iat", 0, last_second));
  TRY(const std::int64_t expires, root.integer("exp", 0, last_second));
  TRY_VOID(root.finish());
  std::optional<ContentHash> bundle = ContentHash::parse(hash);
  if (format != format_version || !bundle) {
    return refuse("grant.malformed", "it has another format or no hash");
  }
  return Order{std::move(key_id), *std::move(bundle), WallTime{std::chrono::seconds{issued}},
               WallTime{std::chrono::seconds{expires}}};
}

Status check_time(const Order& order, WallTime now) {
  if (order.expires <= order.issued || order.expires - order.issued > warmup_token_life) {
    return refuse("grant.bad_life", "an order to warm up lives for a minute at most");
  }
  if (now + grant_clock_skew < order.issued) {
    return refuse("grant.not_yet_valid", "the order is from the future");
  }
  if (now >= order.expires + grant_clock_skew) {
    return refuse("grant.expired", "the order has expired");
  }
  return {};
}

}  // namespace

std::string sign_warmup(const ContentHash& bundle, WallTime issued, const crypto::SigningKey& key) {
  const std::int64_t second =
      std::chrono::floor<std::chrono::seconds>(issued).time_since_epoch().count();
  const boost::json::object payload{
      {"v", format_version},
      {"kid", key.public_key().id()},
      {"hash", bundle.prefixed()},
      {"iat", second},
      {"exp", second + warmup_token_life.count()},
  };
  std::string text = base64url_encode(as_bytes(json::canonical(payload)));
  const crypto::Signature signature = key.sign(as_bytes(signed_text(text)));
  return text + '.' + base64url_encode(signature);
}

Status check_warmup(std::string_view token, const ContentHash& bundle, const GrantVerifier& keys,
                    WallTime now) {
  const std::size_t dot = token.find('.');
  if (token.size() > longest_token || dot == std::string_view::npos) {
    return refuse("grant.malformed", "no order to warm up");
  }
  const auto payload = base64url_decode(token.substr(0, dot));
  const auto signature = base64url_decode(token.substr(dot + 1));
  if (!payload || !signature) return refuse("grant.malformed", "it is not base64url");
  const auto order = read_order(*payload);
  if (!order) return refuse("grant.malformed", order.error().message);
  // Read before the signature is checked, and used for nothing but finding the key.
  const std::optional<crypto::PublicKey> key = keys.trusted_key(order->key_id);
  if (!key) return refuse("grant.unknown_key", "its key is not trusted here");
  if (!key->verify(as_bytes(signed_text(token.substr(0, dot))), as_bytes(*signature))) {
    return refuse("grant.bad_signature", "its signature does not fit");
  }
  TRY_VOID(check_time(*order, now));
  if (order->bundle == bundle) return {};
  return fail(Kind::denied, "grant.hash_mismatch", "the order is for another bundle");
}

}  // namespace alga::domain
