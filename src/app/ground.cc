#include "app/ground.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <system_error>
#include <utility>

#include "base/bytes.h"

namespace alga::app {

namespace fs = std::filesystem;

Endpoint endpoint_of(const std::string& text) {
  std::size_t colon = text.rfind(':');
  Endpoint out{text.substr(0, colon), 0};
  if (out.host.starts_with('[') && out.host.ends_with(']')) {
    out.host = out.host.substr(1, out.host.size() - 2);
  }
  if (out.host == "localhost") out.host = "127.0.0.1";
  std::from_chars(text.data() + colon + 1, text.data() + text.size(), out.port);
  return out;
}

Status private_folder(const fs::path& path) {
  std::error_code failed;
  fs::create_directories(path, failed);
  const bool there = !failed;
  if (there) fs::permissions(path, fs::perms::owner_all, failed);
  if (!failed && ::access(path.c_str(), R_OK | W_OK | X_OK) != 0) {
    failed.assign(errno, std::generic_category());  // a file system that is mounted read-only
  }
  if (!failed) return {};
  std::string why = failed.message();
  struct stat found{};
  if (there && ::stat(path.c_str(), &found) == 0 && found.st_uid != ::geteuid()) {
    why = "it belongs to the user " + std::to_string(found.st_uid) + ", algad runs as " +
          std::to_string(::geteuid());
  }
  return fail(Kind::unavailable, "config.folder", path.string() + " cannot be used: " + why);
}

/// Writes atomically with mode 0600.
Status write_private_file(const std::string& path, std::string_view text) {
  std::string temporary = path + ".tmp";
  int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  bool ok = fd >= 0 && ::fchmod(fd, 0600) == 0 &&
            ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
            ::fsync(fd) == 0;
  int reason = errno;
  if (fd >= 0) ::close(fd);
  if (ok && ::rename(temporary.c_str(), path.c_str()) == 0) return {};
  return fail(
      Kind::unavailable, "config.folder",
      path + " cannot be written: " + std::error_code(reason, std::generic_category()).message());
}

LogLevel level_of(const std::string& text) {
  if (text == "debug") return LogLevel::debug;
  if (text == "warn") return LogLevel::warn;
  if (text == "error") return LogLevel::error;
  return LogLevel::info;
}

namespace {

using SharedKey = std::shared_ptr<const crypto::SigningKey>;

Secret seed_of(const crypto::SigningKey& key) {
  const crypto::LockedBytes seed = key.seed();
  return Secret{base64_encode(seed.reveal())};
}

bool is_same(const std::optional<Secret>& a, const std::optional<Secret>& b) {
  if (!a || !b) return !a && !b;
  return a->reveal() == b->reveal();
}

/// Null when there is none.
Result<SharedKey> find_signing_key(domain::SecretProvider& secrets, std::string_view name) {
  TRY(std::optional<Secret> stored, secrets.app_secret(name));
  if (!stored) return nullptr;
  std::optional<std::string> seed = base64_decode(stored->reveal());
  if (!seed) return fail(Kind::internal, "keys.malformed", std::string(name) + " is not base64");
  TRY(crypto::SigningKey key, crypto::SigningKey::from_seed(as_bytes(*seed)));
  return std::make_shared<const crypto::SigningKey>(std::move(key));
}

/// Writes the key over nothing but what was read, and reads it again, as whoever signs with it
/// will.
Status put_signing_key(domain::SecretProvider& secrets, std::string_view name,
                       const std::optional<Secret>& former, const crypto::SigningKey& key) {
  TRY_VOID(secrets.replace_app_secret(name, former, seed_of(key)));
  TRY(const std::optional<Secret> present, secrets.app_secret(name));
  if (is_same(present, seed_of(key))) return {};
  if (is_same(present, former)) {
    return fail(Kind::conflict, "keys.shadowed",
                std::string(name) +
                    " comes from a provider that is asked before the one that is "
                    "written to; replace it there");
  }
  return fail(Error{Kind::unavailable, "keys.unavailable",
                    std::string(name) + " was changed by somebody else just now", 1});
}

}  // namespace

Result<std::shared_ptr<const crypto::SigningKey>> load_or_make_signing_key(
    domain::SecretProvider& secrets, std::string_view name) {
  TRY(SharedKey stored, find_signing_key(secrets, name));
  if (stored) return stored;
  // Over nothing: what another process has made meanwhile stays, and is what both sign with.
  TRY_VOID(secrets.replace_app_secret(name, std::nullopt, seed_of(crypto::SigningKey::generate())));
  TRY(stored, find_signing_key(secrets, name));
  if (stored) return stored;
  return fail(Kind::internal, "keys.unknown_key",
              std::string(name) +
                  " was made and cannot be read: the provider that is written to is none of those "
                  "that are asked");
}

Result<crypto::PublicKey> replace_signing_key(domain::SecretProvider& secrets,
                                              std::string_view name) {
  TRY(const std::optional<Secret> former, secrets.app_secret(name));
  const crypto::SigningKey made = crypto::SigningKey::generate();
  TRY_VOID(put_signing_key(secrets, name, former, made));
  return made.public_key();
}

Result<std::optional<crypto::PublicKey>> prepared_signing_key(domain::SecretProvider& secrets,
                                                              std::string_view name,
                                                              std::string_view next) {
  TRY(const SharedKey prepared, find_signing_key(secrets, next));
  TRY(const SharedKey current, find_signing_key(secrets, name));
  // One that was taken into use, and could not be taken out of its place any more, waits no longer.
  if (!prepared || (current && current->public_key().id() == prepared->public_key().id())) {
    return std::nullopt;
  }
  return prepared->public_key();
}

Result<crypto::PublicKey> prepare_signing_key(domain::SecretProvider& secrets,
                                              std::string_view name, std::string_view next) {
  // Read first: what another process prepares from here on is not written over.
  TRY(const std::optional<Secret> former, secrets.app_secret(next));
  TRY(std::optional<crypto::PublicKey> prepared, prepared_signing_key(secrets, name, next));
  if (prepared) return *prepared;
  const crypto::SigningKey made = crypto::SigningKey::generate();
  const Status put = put_signing_key(secrets, next, former, made);
  if (put) return made.public_key();
  // Somebody else's is as good: runners may have been told of it.
  if (put.error().code != "keys.unavailable") return fail(put.error());
  TRY(prepared, prepared_signing_key(secrets, name, next));
  if (prepared) return *prepared;
  return fail(put.error());
}

Status use_signing_key(domain::SecretProvider& secrets, std::string_view name,
                       std::string_view next, std::string_view wanted) {
  TRY(const SharedKey prepared, find_signing_key(secrets, next));
  TRY(const std::optional<Secret> former, secrets.app_secret(name));
  TRY(const SharedKey current, find_signing_key(secrets, name));
  const bool is_prepared = prepared && prepared->public_key().base64() == wanted;
  const bool is_current = current && current->public_key().base64() == wanted;
  if (!is_prepared && is_current) return {};
  if (!is_prepared) {
    return fail(Kind::not_found, "keys.unknown_key", "no key with this public half was prepared");
  }
  // In this order: whatever interrupts it, the key is in one of the two places.
  if (!is_current) TRY_VOID(put_signing_key(secrets, name, former, *prepared));
  // What somebody has prepared meanwhile stays: runners may have been told of it.
  TRY(const SharedKey left, find_signing_key(secrets, next));
  if (!left || left->public_key().base64() != wanted) return {};
  return secrets.set_app_secret(next, std::nullopt);
}

}  // namespace alga::app
