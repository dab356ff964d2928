#include "control_plane/signing_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace alga::control_plane {
namespace {

constexpr std::array kPurposes{KeyPurpose::grant, KeyPurpose::audit, KeyPurpose::broker,
                               KeyPurpose::answer};

std::string_view text_of(KeyPurpose purpose) {
  switch (purpose) {
    case KeyPurpose::grant: return "grant";
    case KeyPurpose::audit: return "audit";
    case KeyPurpose::broker: return "broker";
    case KeyPurpose::answer: return "answer";
  }
  return "";
}

}  // namespace

std::string signing_key_context(std::string_view purpose, std::string_view kid) {
  return fmt::format("alga-signing-key:v1\n{}\n{}", purpose, kid);
}

Status SigningKeys::load() {
  for (KeyPurpose purpose : kPurposes) {
    auto find = [&](sql::Executor& sql) {
      return sql.find("SELECT 1 FROM signing_keys WHERE purpose = $1", {text_of(purpose)});
    };
    TRY(auto there, core_.db().read(find));
    if (there) continue;
    crypto::SigningKey key = crypto::SigningKey::generate();
    TRY(domain::WrappedKey wrapped, wrap(purpose, key));
    Status made = core_.db().write([&](sql::Executor& sql) -> Status {
      TRY(auto row, find(sql));
      if (row) return {};  // another control plane was faster
      return insert(sql, purpose, key, wrapped, core_.now());
    });
    TRY_VOID(made);
  }
  return refresh();
}

Status SigningKeys::refresh() {
  TRY(std::vector<Entry> entries, read());
  bool changed = false;
  {
    std::lock_guard lock(mutex_);
    changed =
        !entries_.empty() && !std::ranges::equal(entries_, entries, {}, &Entry::kid, &Entry::kid);
    entries_ = std::move(entries);
  }
  if (changed && on_change_) on_change_();
  return {};
}

Result<domain::WrappedKey> SigningKeys::wrap(KeyPurpose purpose,
                                             const crypto::SigningKey& key) const {
  const crypto::LockedBytes seed = key.seed();
  return core_.deps().keys->wrap(seed.reveal(),
                                 signing_key_context(text_of(purpose), key.public_key().id()));
}

Status SigningKeys::insert(sql::Executor& sql, KeyPurpose purpose, const crypto::SigningKey& key,
                           const domain::WrappedKey& wrapped, WallTime signs_from) const {
  TRY_VOID(sql.execute(
      "INSERT INTO signing_keys (purpose, kid, public_key, wrapping_key_id, wrapped_seed, "
      "created_at, signs_from) VALUES ($1, $2, $3, $4, $5, $6, $7)",
      {text_of(purpose), key.public_key().id(),
       sql::Blob{std::string(as_text(key.public_key().bytes()))}, wrapped.key_id,
       sql::Blob{wrapped.bytes}, core_.now(), signs_from}));
  return {};
}

std::shared_ptr<const crypto::SigningKey> SigningKeys::known(const std::string& kid) const {
  std::lock_guard lock(mutex_);
  auto found = std::ranges::find(entries_, kid, &Entry::kid);
  return found == entries_.end() ? nullptr : found->key;
}

Result<std::vector<SigningKeys::Entry>> SigningKeys::read() const {
  TRY(sql::Rows rows, core_.db().read([&](sql::Executor& sql) {
    return sql.query(
        "SELECT purpose, kid, wrapping_key_id, wrapped_seed, signs_from, verifies_until "
        "FROM signing_keys WHERE verifies_until IS NULL OR verifies_until > $1 "
        "ORDER BY signs_from DESC, kid",
        {core_.now()});
  }));
  std::vector<Entry> entries;
  for (const sql::Row& row : rows) {
    auto [text, kid, wrapping_key, seed, from, until] =
        row.as<std::string, std::string, std::string, sql::Blob, WallTime,
               std::optional<WallTime>>();
    const auto* const purpose = std::ranges::find(kPurposes, text, text_of);
    if (purpose == kPurposes.end()) continue;  // a newer release's
    auto key = known(kid);
    if (key == nullptr) {
      TRY(auto bytes,
          core_.deps().keys->unwrap({wrapping_key, seed.bytes}, signing_key_context(text, kid)));
      TRY(auto unwrapped, crypto::SigningKey::from_seed(bytes.reveal()));
      key = std::make_shared<const crypto::SigningKey>(std::move(unwrapped));
    }
    entries.push_back({*purpose, kid, std::move(key), from, until});
  }
  return entries;
}

const SigningKeys::Entry& SigningKeys::newest(KeyPurpose purpose) const {
  WallTime now = core_.now();
  const Entry* fallback = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.purpose != purpose) continue;
    if (entry.signs_from <= now) return entry;
    fallback = &entry;
  }
  ALGA_CHECK(fallback != nullptr);
  return *fallback;  // a clock that went back behind the first key
}

SigningKeys::Signed SigningKeys::sign(KeyPurpose purpose, ByteSpan message) const {
  std::lock_guard lock(mutex_);
  const Entry& entry = newest(purpose);
  return {entry.kid, entry.key->sign(message)};
}

std::shared_ptr<const crypto::SigningKey> SigningKeys::signer(KeyPurpose purpose) const {
  std::lock_guard lock(mutex_);
  return newest(purpose).key;
}

std::vector<GrantKey> SigningKeys::verifiers(KeyPurpose purpose) const {
  std::lock_guard lock(mutex_);
  WallTime now = core_.now();
  std::vector<GrantKey> keys;
  for (const Entry& entry : entries_) {
    bool over = entry.verifies_until && *entry.verifies_until <= now;
    if (entry.purpose == purpose && !over) keys.push_back({entry.kid, entry.key->public_key()});
  }
  return keys;
}

Result<std::string> SigningKeys::rotate(KeyPurpose purpose, std::chrono::milliseconds overlap) {
  crypto::SigningKey key = crypto::SigningKey::generate();
  TRY(domain::WrappedKey wrapped, wrap(purpose, key));
  WallTime from = core_.now() + overlap;
  TRY_VOID(core_.db().write([&](sql::Executor& sql) -> Status {
    TRY_VOID(insert(sql, purpose, key, wrapped, from));
    TRY_VOID(
        sql.execute("UPDATE signing_keys SET verifies_until = $1 WHERE purpose = $2 AND kid <> "
                    "$3 AND verifies_until IS NULL",
                    {from + overlap, text_of(purpose), key.public_key().id()}));
    return {};
  }));
  TRY_VOID(refresh());
  return key.public_key().id();
}

}  // namespace alga::control_plane
