#include "vault/vault_engines.h"

#include <boost/json/object.hpp>

#include "base/bytes.h"
#include "json/decode.h"

namespace alga::vault {
namespace {

constexpr int kMaxCasAttempts = 5;
constexpr std::chrono::seconds kReadLife{1};
constexpr std::size_t kMaxCachedPaths = 1'000;
constexpr std::string_view kTenantPlace = "{tenantId}";

std::unexpected<Error> bad_response(std::string_view what) {
  return fail(Kind::bad_gateway, "vault.bad_response",
              "Vault's answer has no " + std::string(what));
}

Status check_key(std::string_view mount, std::string_view key) {
  if (is_mount(mount) && is_secret_path(key) && !key.contains('/')) return {};
  return fail(Kind::invalid, "vault.invalid_name", "not a mount and a key of Vault");
}

std::string operation_path(std::string_view mount, std::string_view operation,
                           std::string_view key) {
  return std::string(mount) + '/' + std::string(operation) + '/' + std::string(key);
}

boost::json::object* find_object(json::Value& value, std::string_view name) {
  auto* member = value.is_object() ? value.get_object().if_contains(name) : nullptr;
  return member != nullptr && member->is_object() ? &member->get_object() : nullptr;
}

void wipe(boost::json::string& text) { explicit_bzero(text.data(), text.size()); }

/// Wipes every string below a value when it goes out of scope.
class Wiper {
 public:
  explicit Wiper(json::Value& value) : value_(value) {}
  Wiper(const Wiper&) = delete;
  Wiper& operator=(const Wiper&) = delete;
  ~Wiper() { wipe_below(value_); }

 private:
  static void wipe_below(json::Value& value) {
    if (value.is_string()) wipe(value.get_string());
    if (value.is_object()) {
      for (auto& member : value.get_object()) wipe_below(member.value());
    }
  }
  json::Value& value_;
};

bool is_kv_path(std::string_view path) { return is_mount(path) && path.contains("/data/"); }

}  // namespace

Result<std::string> VaultTransit::encrypt(std::string_view mount, std::string_view key,
                                          ByteSpan plaintext, std::string_view context) {
  TRY_VOID(check_key(mount, key));
  std::string encoded = base64_encode(plaintext);
  json::Value body = boost::json::object{{"plaintext", encoded}};
  explicit_bzero(encoded.data(), encoded.size());
  const Wiper wiper(body);
  if (!context.empty()) body.get_object()["associated_data"] = base64_encode(as_bytes(context));
  TRY(json::Value answer, client_.call("POST", operation_path(mount, "encrypt", key), &body));
  const auto* data = find_object(answer, "data");
  const auto* ciphertext = data != nullptr ? data->if_contains("ciphertext") : nullptr;
  if (ciphertext == nullptr || !ciphertext->is_string()) return bad_response("ciphertext");
  return std::string(ciphertext->get_string());
}

Result<crypto::LockedBytes> VaultTransit::decrypt(std::string_view mount, std::string_view key,
                                                  std::string_view ciphertext,
                                                  std::string_view context) {
  TRY_VOID(check_key(mount, key));
  json::Value body = boost::json::object{{"ciphertext", ciphertext}};
  if (!context.empty()) body.get_object()["associated_data"] = base64_encode(as_bytes(context));
  TRY(json::Value answer, client_.call("POST", operation_path(mount, "decrypt", key), &body));
  const Wiper wiper(answer);
  auto* data = find_object(answer, "data");
  auto* plaintext = data != nullptr ? data->if_contains("plaintext") : nullptr;
  if (plaintext == nullptr || !plaintext->is_string()) return bad_response("plaintext");
  auto decoded = crypto::base64_decode_locked(plaintext->get_string());
  if (!decoded) return bad_response("base64 plaintext");
  return std::move(*decoded);
}

Result<std::uint64_t> VaultTransit::latest_version(std::string_view mount, std::string_view key) {
  TRY_VOID(check_key(mount, key));
  TRY(json::Value answer, client_.call("GET", operation_path(mount, "keys", key)));
  const auto* data = find_object(answer, "data");
  const auto* version = data != nullptr ? data->if_contains("latest_version") : nullptr;
  if (version == nullptr || !version->is_int64() || version->get_int64() < 1) {
    return bad_response("latest_version");
  }
  return static_cast<std::uint64_t>(version->get_int64());
}

Status VaultTransit::rotate(std::string_view mount, std::string_view key) {
  TRY_VOID(check_key(mount, key));
  const json::Value body = boost::json::object{};
  TRY_VOID(client_.call("POST", operation_path(mount, "keys", key) + "/rotate", &body));
  return {};
}

bool VaultSecrets::is_app_path(std::string_view text) { return is_kv_path(text); }

bool VaultSecrets::is_tenant_path(std::string_view text) {
  const std::size_t place = text.find(kTenantPlace);
  if (place == std::string_view::npos) return false;
  return is_kv_path(std::string(text).replace(place, kTenantPlace.size(), "t"));
}

Result<std::unique_ptr<VaultSecrets>> VaultSecrets::make(Options options, VaultClient& client,
                                                         const Clock& clock) {
  if (!is_app_path(options.app_path) || !is_tenant_path(options.tenant_path)) {
    return fail(Kind::invalid, "vault.invalid_name",
                "Vault paths look like kv/data/app/secrets and kv/data/tenants/{tenantId}/secrets");
  }
  return std::unique_ptr<VaultSecrets>(new VaultSecrets(std::move(options), client, clock));
}

VaultSecrets::VaultSecrets(Options options, VaultClient& client, const Clock& clock)
    : options_(std::move(options)), client_(client), clock_(clock) {}

std::string VaultSecrets::tenant_path(const TenantId& tenant) const {
  std::string path = options_.tenant_path;
  return path.replace(path.find(kTenantPlace), kTenantPlace.size(), tenant.str());
}

Result<VaultSecrets::Entry> VaultSecrets::fetch(const std::string& path) {
  auto answer = client_.call("GET", path);
  if (!answer) {
    if (answer.error().code == "vault.not_found") return Entry{};
    return fail(answer.error());
  }
  const Wiper wiper(*answer);
  auto* outer = find_object(*answer, "data");
  if (outer == nullptr) return bad_response("data");
  Entry entry;
  const auto* metadata = outer->if_contains("metadata");
  const auto* version = metadata != nullptr && metadata->is_object()
                            ? metadata->get_object().if_contains("version")
                            : nullptr;
  if (version == nullptr || !version->is_int64()) return bad_response("version");
  entry.version = static_cast<std::uint64_t>(version->get_int64());
  auto* data = outer->if_contains("data");
  if (data == nullptr || !data->is_object()) return entry;  // a deleted version
  for (const auto& member : data->get_object()) {
    if (!member.value().is_string()) continue;
    entry.secrets.emplace(member.key(), Secret(std::string(member.value().get_string())));
  }
  return entry;
}

std::shared_ptr<VaultSecrets::Cached> VaultSecrets::slot(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  if (cache_.size() >= kMaxCachedPaths && !cache_.contains(path)) cache_.clear();
  auto& cached = cache_[path];
  if (cached == nullptr) cached = std::make_shared<Cached>();
  return cached;
}

Result<std::optional<Secret>> VaultSecrets::read(const std::string& path, std::string_view name) {
  if (!is_identifier(name)) {
    return fail(Kind::invalid, "vault.invalid_name", "not the name of a secret");
  }
  const auto cached = slot(path);
  const std::scoped_lock lock(cached->reading);
  if (!cached->entry || clock_.steady() - cached->since >= kReadLife) {
    cached->entry.reset();
    TRY(cached->entry, fetch(path));
    cached->since = clock_.steady();
  }
  const auto found = cached->entry->secrets.find(name);
  if (found == cached->entry->secrets.end() || found->second.empty()) return std::nullopt;
  return found->second.copy();
}

Result<bool> VaultSecrets::write(const std::string& path, std::string_view name,
                                 const std::optional<Secret>& value,
                                 const std::optional<Secret>* expected) {
  if (!is_identifier(name)) {
    return fail(Kind::invalid, "vault.invalid_name", "not the name of a secret");
  }
  const auto cached = slot(path);
  const std::scoped_lock lock(cached->reading);
  cached->entry.reset();
  for (int attempt = 1;; ++attempt) {
    TRY(Entry entry, fetch(path));
    if (expected != nullptr) {
      const auto found = entry.secrets.find(name);
      std::optional<Secret> present;
      if (found != entry.secrets.end()) present = found->second.copy();
      if (!is_same(present, *expected)) return false;
    }
    const bool removing = !value || value->empty();
    if (removing && entry.secrets.erase(std::string(name)) == 0) return true;
    if (!removing) entry.secrets.insert_or_assign(std::string(name), value->copy());
    json::Value body = boost::json::object{{"options", {{"cas", entry.version}}}};
    const Wiper wiper(body);
    auto& data = body.get_object()["data"].emplace_object();
    for (const auto& [key, secret] : entry.secrets) data[key] = secret.reveal();
    const auto answer = client_.call("POST", path, &body);
    if (answer) return true;
    if (answer.error().code != "vault.cas_conflict" || attempt == kMaxCasAttempts) {
      return fail(answer.error());
    }
  }
}

Result<std::optional<Secret>> VaultSecrets::app_secret(std::string_view name) {
  return read(options_.app_path, name);
}

Result<std::optional<Secret>> VaultSecrets::tenant_secret(const TenantId& tenant,
                                                          std::string_view name) {
  return read(tenant_path(tenant), name);
}

Status VaultSecrets::set_app_secret(std::string_view name, std::optional<Secret> value) {
  TRY_VOID(write(options_.app_path, name, value));
  return {};
}

Result<bool> VaultSecrets::replace_app_secret(std::string_view name,
                                              const std::optional<Secret>& expected,
                                              const Secret& value) {
  return write(options_.app_path, name, value.copy(), &expected);
}

Status VaultSecrets::set_tenant_secret(const TenantId& tenant, std::string_view name,
                                       std::optional<Secret> value) {
  TRY_VOID(write(tenant_path(tenant), name, value));
  return {};
}

namespace {

Error as_keys_error(Error error) {
  if (error.code == "vault.not_found") {
    return {Kind::internal, "keys.unknown_key", "Vault has no such transit key"};
  }
  if (error.code == "vault.bad_request") {
    return {Kind::internal, "keys.unwrap_failed", "Vault does not unwrap this key"};
  }
  return {Kind::unavailable, "keys.unavailable", std::string(error.code) + ": " + error.message, 1};
}

/// `vault:v3:…` was made by version 3.
std::string version_of(std::string_view ciphertext) {
  constexpr std::string_view kPrefix = "vault:";
  if (!ciphertext.starts_with(kPrefix)) return {};
  ciphertext.remove_prefix(kPrefix.size());
  return std::string(ciphertext.substr(0, ciphertext.find(':')));
}

}  // namespace

Result<domain::WrappedKey> VaultKeyProvider::wrap(ByteSpan key, const std::string& context) {
  auto bytes = transit_.encrypt(mount_, key_, key, context);
  if (!bytes) return fail(as_keys_error(bytes.error()));
  return domain::WrappedKey{key_ + '.' + version_of(*bytes), std::move(*bytes)};
}

Result<crypto::LockedBytes> VaultKeyProvider::unwrap(const domain::WrappedKey& wrapped,
                                                     const std::string& context) {
  if (!wrapped.key_id.starts_with(key_ + '.')) {
    return fail(Kind::internal, "keys.unknown_key", "wrapped by a key that is not configured");
  }
  auto key = transit_.decrypt(mount_, key_, wrapped.bytes, context);
  if (!key) return fail(as_keys_error(key.error()));
  return key;
}

Result<std::string> VaultKeyProvider::current_key_id() {
  const auto version = transit_.latest_version(mount_, key_);
  if (!version) return fail(as_keys_error(version.error()));
  return key_ + ".v" + std::to_string(*version);
}

Result<std::string> VaultKeyProvider::rotate() {
  const auto rotated = transit_.rotate(mount_, key_);
  if (!rotated) return fail(as_keys_error(rotated.error()));
  return current_key_id();
}

}  // namespace alga::vault
