#include "vault/key_ring.h"

#include <memory>

#include "base/bytes.h"
#include "crypto/digest.h"
#include "json/decode.h"

namespace alga::vault {
namespace {

constexpr std::size_t kMaxKeys = 100;
/// Of a change to a ring that others are changing, too.
constexpr int kAttempts = 100;

std::unexpected<Error> malformed(std::string_view name) {
  return fail(Kind::internal, "keys.malformed",
              "the application secret " + std::string(name) + " is not a ring of keys");
}

std::unexpected<Error> no_ring(std::string_view name) {
  return fail(Kind::internal, "keys.unknown_key",
              "the application secret " + std::string(name) + " does not exist");
}

/// A name for a key that says nothing about it.
std::string id_of(const crypto::AeadKey& key) {
  crypto::Sha256 digest;
  digest.update("alga-key-id:v1\n");
  digest.update(key.reveal());
  return "k" + digest.finish_hex().substr(0, 16);
}

/// Answers its id.
std::string add_fresh_key(KeyRing& ring) {
  crypto::AeadKey key = crypto::AeadKey::generate();
  std::string id = id_of(key);
  ring.keys.insert_or_assign(id, std::move(key));
  return id;
}

Status check_room(const KeyRing& ring, std::string_view name) {
  if (ring.keys.size() < kMaxKeys) return {};
  return fail(Kind::conflict, "keys.ring_full",
              "the application secret " + std::string(name) +
                  " holds a hundred keys; take out those that nothing needs any more");
}

Secret serialise(const KeyRing& ring) {
  // Written by hand: a JSON value would leave copies of the keys in freed memory.
  std::string text;
  text.reserve(64 + ring.keys.size() * 96);
  text += R"({"current":")" + ring.current + R"(","keys":{)";
  bool first = true;
  for (const auto& [id, key] : ring.keys) {
    const Secret encoded(base64_encode(key.reveal()));
    text.append(first ? "\"" : ",\"").append(id).append("\":\"").append(encoded.reveal()) += '"';
    first = false;
  }
  return Secret(text += "}}");
}

Result<KeyRing> parse(const Secret& secret, std::string_view name) {
  auto document = json::parse(secret.reveal(), {.max_bytes = 64U << 10U, .max_depth = 2});
  if (!document) return malformed(name);
  auto root = json::Object::of(*document);
  if (!root) return malformed(name);
  auto current = root->string("current", 64);
  auto keys = root->string_map("keys", kMaxKeys);
  if (!current || !keys || !root->finish()) return malformed(name);
  KeyRing ring{.current = *current};
  for (auto& [id, encoded] : *keys) {
    const auto bytes = crypto::base64_decode_locked(encoded);
    explicit_bzero(encoded.data(), encoded.size());
    if (!bytes || !is_identifier(id)) return malformed(name);
    auto key = crypto::AeadKey::from_bytes(bytes->reveal());
    if (!key) return malformed(name);
    ring.keys.emplace(id, std::move(*key));
  }
  if (!ring.keys.contains(ring.current)) return malformed(name);
  return ring;
}

/// Changes the ring, over nothing but what was read: a key that another process has just added is
/// never lost. `change` may be called again.
template <class Change>
Result<KeyRing> change_ring(domain::SecretProvider& secrets, std::string_view name, Change change) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    TRY(const std::optional<Secret> stored, secrets.app_secret(name));
    if (!stored) return no_ring(name);
    TRY(KeyRing ring, parse(*stored, name));
    TRY(const bool changed, change(ring));
    if (!changed) return ring;
    TRY(const bool written, secrets.replace_app_secret(name, stored, serialise(ring)));
    if (written) return ring;
  }
  return fail(Error{Kind::unavailable, "keys.unavailable",
                    "the application secret " + std::string(name) + " keeps changing", 1});
}

}  // namespace

Result<KeyRing> load_key_ring(domain::SecretProvider& secrets, std::string_view name) {
  TRY(const std::optional<Secret> stored, secrets.app_secret(name));
  if (stored) return parse(*stored, name);
  return no_ring(name);
}

Result<KeyRing> load_or_make_key_ring(domain::SecretProvider& secrets, std::string_view name) {
  TRY(const std::optional<Secret> stored, secrets.app_secret(name));
  if (stored) return parse(*stored, name);
  KeyRing ring;
  ring.current = add_fresh_key(ring);
  // Over nothing: what another process has made meanwhile stays, and is what counts.
  TRY_VOID(secrets.replace_app_secret(name, std::nullopt, serialise(ring)));
  return load_key_ring(secrets, name);
}

Result<KeyRing> rotate_key_ring(domain::SecretProvider& secrets, std::string_view name) {
  return change_ring(secrets, name, [name](KeyRing& ring) -> Result<bool> {
    TRY_VOID(check_room(ring, name));
    ring.current = add_fresh_key(ring);
    return true;
  });
}

Result<std::string> prepare_key_of_ring(domain::SecretProvider& secrets, std::string_view name) {
  std::string id;
  TRY_VOID(change_ring(secrets, name, [&id, name](KeyRing& ring) -> Result<bool> {
    TRY_VOID(check_room(ring, name));
    id = add_fresh_key(ring);
    return true;
  }));
  return id;
}

Status use_key_of_ring(domain::SecretProvider& secrets, std::string_view name,
                       std::string_view id) {
  TRY_VOID(change_ring(secrets, name, [name, id](KeyRing& ring) -> Result<bool> {
    if (!ring.keys.contains(id)) {
      return fail(Kind::not_found, "keys.unknown_key",
                  "the application secret " + std::string(name) + " holds no key with this id");
    }
    ring.current = std::string(id);
    return true;
  }));
  return {};
}

Result<std::size_t> retire_keys_of_ring(domain::SecretProvider& secrets, std::string_view name) {
  std::size_t retired = 0;
  TRY_VOID(change_ring(secrets, name, [&retired](KeyRing& ring) -> Result<bool> {
    retired =
        std::erase_if(ring.keys, [&ring](const auto& item) { return item.first != ring.current; });
    return retired > 0;
  }));
  return retired;
}

Result<std::unique_ptr<LocalKeyProvider>> LocalKeyProvider::open(domain::SecretProvider& secrets) {
  TRY(KeyRing ring, load_or_make_key_ring(secrets, wrapping_keys_secret));
  return std::unique_ptr<LocalKeyProvider>(new LocalKeyProvider(secrets, std::move(ring)));
}

Result<std::unique_ptr<LocalKeyProvider>> LocalKeyProvider::open_existing(
    domain::SecretProvider& secrets) {
  auto ring = load_key_ring(secrets, wrapping_keys_secret);
  if (ring) {
    return std::unique_ptr<LocalKeyProvider>(new LocalKeyProvider(secrets, std::move(*ring)));
  }
  if (ring.error().code == "keys.unknown_key") return nullptr;
  return fail(std::move(ring).error());
}

Result<domain::WrappedKey> LocalKeyProvider::wrap(ByteSpan key, const std::string& context) {
  const std::scoped_lock lock(mutex_);
  // Keys are wrapped rarely and must not go under one that another process has just replaced. A
  // provider that fails now does not matter: what is wrapped by an older key still unwraps.
  if (auto ring = load_key_ring(secrets_, wrapping_keys_secret)) ring_ = std::move(*ring);
  const crypto::AeadKey& current = ring_.keys.find(ring_.current)->second;
  return domain::WrappedKey{ring_.current, crypto::seal(current, key, as_bytes(context))};
}

Result<crypto::LockedBytes> LocalKeyProvider::unwrap(const domain::WrappedKey& wrapped,
                                                     const std::string& context) {
  const std::scoped_lock lock(mutex_);
  auto key = ring_.keys.find(wrapped.key_id);
  if (key == ring_.keys.end()) {
    // Another process may have rotated.
    auto ring = load_key_ring(secrets_, wrapping_keys_secret);
    if (!ring) return fail(Kind::unavailable, "keys.unavailable", ring.error().message);
    ring_ = std::move(*ring);
    key = ring_.keys.find(wrapped.key_id);
  }
  if (key == ring_.keys.end()) {
    return fail(Kind::internal, "keys.unknown_key", "no wrapping key " + wrapped.key_id);
  }
  auto bytes = crypto::open(key->second, as_bytes(wrapped.bytes), as_bytes(context));
  if (bytes) return bytes;
  return fail(Kind::internal, "keys.unwrap_failed", "the wrapped key does not open");
}

Result<std::string> LocalKeyProvider::current_key_id() {
  const std::scoped_lock lock(mutex_);
  return ring_.current;
}

Result<std::string> LocalKeyProvider::rotate() {
  const std::scoped_lock lock(mutex_);
  auto ring = rotate_key_ring(secrets_, wrapping_keys_secret);
  if (!ring && ring.error().code == "keys.ring_full") return fail(std::move(ring).error());
  if (!ring) return fail(Kind::unavailable, "keys.unavailable", ring.error().message);
  ring_ = std::move(*ring);
  return ring_.current;
}

}  // namespace alga::vault
