#include "domain/envelope.h"

#include <boost/json/object.hpp>
#include <utility>

#include "crypto/digest.h"

namespace alga::domain {
namespace {

constexpr std::size_t longest_ciphertext = std::size_t{2} << 20U;
constexpr std::size_t longest_field = 256;

std::unexpected<Error> malformed(std::string reason) {
  return fail(Kind::invalid, "secret.malformed", std::move(reason));
}

/// The fields besides the ciphertext, by their names on the wire.
template <class Envelope>
auto metadata_fields(Envelope& envelope) {
  return std::to_array({
      std::pair{std::string_view{"version"}, &envelope.version},
      std::pair{std::string_view{"algorithm"}, &envelope.algorithm},
      std::pair{std::string_view{"key_id"}, &envelope.key_id},
      std::pair{std::string_view{"expires_at"}, &envelope.expires_at},
      std::pair{std::string_view{"key_path"}, &envelope.key_path},
      std::pair{std::string_view{"mount"}, &envelope.mount},
  });
}

std::string context_of(const EnvelopeBinding& binding, const SecretEnvelope& envelope) {
  return "alga-envelope:v1\n" + binding.tenant.str() + "\n" + binding.install.str() + "\n" +
         envelope.version.value_or("") + "\n" + envelope.expires_at.value_or("");
}

Result<EnvelopeAlgorithm> algorithm_of(const SecretEnvelope& envelope) {
  if (!envelope.algorithm) return EnvelopeAlgorithm::inline_base64;
  for (EnvelopeAlgorithm algorithm :
       {EnvelopeAlgorithm::sealed, EnvelopeAlgorithm::vault_transit,
        EnvelopeAlgorithm::broker_token, EnvelopeAlgorithm::inline_base64}) {
    if (*envelope.algorithm == name(algorithm)) return algorithm;
  }
  return fail(Kind::invalid, "secret.unknown_algorithm", "the envelope's algorithm is not known");
}

Status check_expiry(const SecretEnvelope& envelope, EnvelopeAlgorithm algorithm, WallTime now,
                    const EnvelopePolicy& policy) {
  if (!envelope.expires_at) {
    bool optional = algorithm == EnvelopeAlgorithm::inline_base64 ||
                    (algorithm == EnvelopeAlgorithm::vault_transit && !policy.require_expiry);
    if (!optional) return malformed("expires_at is missing");
    return {};
  }
  std::optional<WallTime> expires = parse_rfc3339(*envelope.expires_at);
  if (!expires) return malformed("expires_at is not an RFC 3339 time");
  if (*expires <= now) return fail(Kind::denied, "secret.expired", "the envelope has expired");
  std::chrono::seconds longest = algorithm == EnvelopeAlgorithm::broker_token
                                     ? policy.longest_broker_life
                                     : policy.longest_life;
  if (*expires > now + longest) return malformed("expires_at is too far in the future");
  return {};
}

Status check_shape(const SecretEnvelope& envelope, EnvelopeAlgorithm algorithm) {
  if (envelope.ciphertext_b64.size() > longest_ciphertext) return malformed("it is too large");
  if (envelope.version && !is_identifier(*envelope.version)) return malformed("the version");
  if (envelope.key_id && !is_identifier(*envelope.key_id)) return malformed("the key_id");
  bool blank = trim(envelope.ciphertext_b64).empty();
  switch (algorithm) {
    case EnvelopeAlgorithm::inline_base64: return {};
    case EnvelopeAlgorithm::vault_transit:
      if (!envelope.ciphertext_b64.starts_with("vault:v")) return malformed("the ciphertext");
      if (!envelope.key_path || !is_identifier(*envelope.key_path))
        return malformed("the key_path");
      if (envelope.mount && !is_identifier(*envelope.mount)) return malformed("the mount");
      return {};
    case EnvelopeAlgorithm::sealed:
    case EnvelopeAlgorithm::broker_token:
      if (blank) return malformed("the ciphertext is empty");
      if (!envelope.version) return malformed("the version is missing");
      if (!envelope.key_id) return malformed("the key_id is missing");
      return {};
  }
  return malformed("the algorithm");
}

boost::json::object header_of(const SecretEnvelope& envelope) {
  boost::json::object header;
  header["algorithm"] =
      envelope.algorithm.value_or(std::string(name(EnvelopeAlgorithm::inline_base64)));
  if (envelope.version) header["version"] = *envelope.version;
  if (envelope.key_id) header["key_id"] = *envelope.key_id;
  if (envelope.expires_at) header["expires_at"] = *envelope.expires_at;
  header["sha256"] = envelope_digest(envelope);
  return header;
}

}  // namespace

std::string_view name(EnvelopeAlgorithm algorithm) {
  switch (algorithm) {
    case EnvelopeAlgorithm::sealed: return "sealed:v1";
    case EnvelopeAlgorithm::vault_transit: return "vault-transit:v1";
    case EnvelopeAlgorithm::broker_token: return "broker-token:v1";
    case EnvelopeAlgorithm::inline_base64: return "inline/base64";
  }
  return "";
}

Result<EnvelopeAlgorithm> check_envelope(const SecretEnvelope& envelope, WallTime now,
                                         const EnvelopePolicy& policy) {
  TRY(EnvelopeAlgorithm algorithm, algorithm_of(envelope));
  if (algorithm == EnvelopeAlgorithm::inline_base64 && !policy.allow_inline) {
    return fail(Kind::denied, "secret.inline_not_allowed",
                "this server takes no unprotected secrets");
  }
  TRY_VOID(check_shape(envelope, algorithm));
  TRY_VOID(check_expiry(envelope, algorithm, now, policy));
  return algorithm;
}

Result<SecretEnvelope> seal_envelope(const SecretMap& secrets, const EnvelopeBinding& binding,
                                     std::string_view version, const crypto::AeadKey& key,
                                     std::string_view key_id, WallTime expires) {
  if (!is_identifier(version) || !is_identifier(key_id)) return malformed("the version or key_id");
  SecretEnvelope envelope;
  envelope.version = std::string(version);
  envelope.algorithm = std::string(name(EnvelopeAlgorithm::sealed));
  envelope.key_id = std::string(key_id);
  envelope.expires_at = format_rfc3339(expires);
  std::string sealed =
      crypto::seal(key, secrets.to_json().reveal(), as_bytes(context_of(binding, envelope)));
  envelope.ciphertext_b64 = base64_encode(as_bytes(sealed));
  return envelope;
}

Result<SecretMap> open_sealed(const SecretEnvelope& envelope, const EnvelopeBinding& binding,
                              const SealingKeys& keys, WallTime now, const EnvelopePolicy& policy) {
  TRY(EnvelopeAlgorithm algorithm, check_envelope(envelope, now, policy));
  if (algorithm != EnvelopeAlgorithm::sealed) {
    return fail(Kind::invalid, "secret.unknown_algorithm", "the envelope is not sealed:v1");
  }
  const crypto::AeadKey* key = keys.find(envelope.key_id.value_or(""));
  if (key == nullptr) {
    return fail(Kind::denied, "secret.unknown_key",
                "no key with the envelope's key_id is held here");
  }
  std::optional<std::string> sealed = base64_decode(envelope.ciphertext_b64);
  if (!sealed) return malformed("the ciphertext is not base64");
  Result<crypto::LockedBytes> json =
      crypto::open(*key, as_bytes(*sealed), as_bytes(context_of(binding, envelope)));
  if (!json)
    return fail(Kind::denied, "secret.altered", "the envelope does not open for this install");
  return SecretMap::from_json(*json);
}

Result<SecretMap> open_inline(const SecretEnvelope& envelope, WallTime now,
                              const EnvelopePolicy& policy) {
  TRY(EnvelopeAlgorithm algorithm, check_envelope(envelope, now, policy));
  if (algorithm != EnvelopeAlgorithm::inline_base64) {
    return fail(Kind::invalid, "secret.unknown_algorithm", "the envelope is not inline/base64");
  }
  std::string_view text = trim(envelope.ciphertext_b64);
  if (text.empty()) return SecretMap{};
  std::optional<crypto::LockedBytes> json = crypto::base64_decode_locked(text);
  if (!json) return malformed("the ciphertext is not base64");
  return SecretMap::from_json(*json);
}

std::string envelope_digest(const SecretEnvelope& envelope) {
  return crypto::sha256_hex(json::canonical(envelope_to_json(envelope)));
}

bool is_broker_token(const SecretEnvelope& envelope) {
  return envelope.algorithm == name(EnvelopeAlgorithm::broker_token);
}

std::string envelope_pin(const SecretEnvelope& envelope) {
  if (!is_broker_token(envelope)) return envelope_digest(envelope);
  SecretEnvelope lasting = envelope;
  lasting.ciphertext_b64.clear();
  lasting.expires_at.reset();
  return envelope_digest(lasting);
}

std::string envelope_header(const SecretEnvelope& envelope) {
  return json::canonical(header_of(envelope));
}

Status check_envelope_header(const SecretEnvelope& envelope, std::string_view header) {
  Result<json::Value> value = json::parse(header, {.max_bytes = 4096, .max_depth = 1});
  if (!value || !crypto::constant_time_equal(json::canonical(*value), envelope_header(envelope))) {
    return fail(Kind::denied, "secret.header_mismatch",
                "x-ext-secrets-envelope does not describe the envelope of the body");
  }
  return {};
}

Result<SecretEnvelope> envelope_from_json(const json::Value& value, std::string_view path) {
  auto read = [&]() -> Result<SecretEnvelope> {
    TRY(json::Object object, json::Object::of(value, std::string(path)));
    SecretEnvelope envelope;
    TRY(envelope.ciphertext_b64, object.string("ciphertext_b64", longest_ciphertext));
    for (auto& [field, target] : metadata_fields(envelope)) {
      TRY(*target, object.optional_string(field, longest_field));
    }
    TRY_VOID(object.finish());
    return envelope;
  };
  Result<SecretEnvelope> envelope = read();
  if (!envelope) return malformed(envelope.error().message);
  for (const auto& [field, text] : metadata_fields(*envelope)) {
    if (*text && !is_header_value(**text)) {
      return malformed(std::string(path) + "/" + std::string(field) + " has control characters");
    }
  }
  return envelope;
}

json::Value envelope_to_json(const SecretEnvelope& envelope) {
  boost::json::object object;
  object["ciphertext_b64"] = envelope.ciphertext_b64;
  for (const auto& [field, text] : metadata_fields(envelope)) {
    if (*text) object[field] = **text;
  }
  return object;
}

}  // namespace alga::domain
