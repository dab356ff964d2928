#include "vault/transit_sealer.h"

#include "vault/envelope_opener.h"

namespace alga::vault {
namespace {

/// Counts one caller for as long as it lives.
class Place {
 public:
  explicit Place(std::atomic<int>& taken) : taken_(taken), number_(++taken) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { --taken_; }
  [[nodiscard]] int number() const { return number_; }

 private:
  std::atomic<int>& taken_;
  int number_;
};

}  // namespace

Result<domain::SecretEnvelope> TransitSealer::seal(const domain::SecretMap& secrets,
                                                   const domain::EnvelopeBinding& binding,
                                                   std::string_view version, WallTime expires) {
  const Place place(waiting_);
  if (place.number() > concurrency_) {
    return fail({Kind::unavailable, "vault.unavailable", "too many callers wait for Vault", 1});
  }
  domain::SecretEnvelope envelope;
  envelope.version = std::string(version);
  envelope.algorithm = std::string(name(algorithm()));
  envelope.expires_at = format_rfc3339(expires);
  envelope.key_path = key_;
  envelope.mount = mount_;
  const crypto::LockedBytes json = secrets.to_json();
  auto ciphertext =
      transit_.encrypt(mount_, key_, json.reveal(), envelope_context(binding, envelope));
  if (!ciphertext) {
    Error error = std::move(ciphertext).error();
    if (error.kind == Kind::unavailable) return fail(std::move(error));
    return fail(Kind::internal, "secret.seal_failed",
                std::string(error.code) + ": " + error.message);
  }
  envelope.ciphertext_b64 = std::move(*ciphertext);
  // `vault:v3:…`: the key and the version of it that made this.
  const std::size_t begin = envelope.ciphertext_b64.find(':') + 1;
  const std::size_t end = envelope.ciphertext_b64.find(':', begin);
  envelope.key_id = key_ + '.' + envelope.ciphertext_b64.substr(begin, end - begin);
  return envelope;
}

}  // namespace alga::vault
