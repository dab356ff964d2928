#include "control_plane/envelopes.h"

#include <algorithm>

namespace alga::control_plane {
namespace {

constexpr std::size_t kInstalls = 10'000;
constexpr std::chrono::milliseconds kLongestWait{2'000};
constexpr std::chrono::milliseconds kUsualLeastLife{10'000};

}  // namespace

Result<InstallEnvelope> Envelopes::get(const TenantId& tenant, const InstallId& install,
                                       const std::string& version) {
  if (version.empty()) return InstallEnvelope{};
  const std::chrono::milliseconds half = core_.options().envelope_life / 2;
  const std::shared_ptr<Slot> place = slot(tenant, install);
  if (auto fresh = kept(*place, version, half)) return std::move(*fresh);
  std::unique_lock sealing(place->sealing, std::defer_lock);
  std::optional<InstallEnvelope> older = kept(*place, version, least_life());
  const bool ours = older ? sealing.try_lock() : sealing.try_lock_for(kLongestWait);
  if (!ours) {
    if (older) return std::move(*older);
    return fail({Kind::unavailable, "secret.overload", "too many secrets are waited for", 1});
  }
  // Somebody else may have made it while we waited.
  if (auto fresh = kept(*place, version, half)) return std::move(*fresh);
  auto made = make(*place, tenant, install);
  if (made || !older || made.error().kind != Kind::unavailable) return made;
  core_.log().warn(
      "an older secret envelope is used again: no new one can be made",
      {{"tenant", tenant.str()}, {"install", install.str()}, {"code", made.error().code}});
  return std::move(*older);
}

Result<InstallEnvelope> Envelopes::make(Slot& slot, const TenantId& tenant,
                                        const InstallId& install) {
  TRY(auto open, settings_.open(tenant, install.str()));
  if (!open) return InstallEnvelope{};
  const WallTime expires = core_.now() + core_.options().envelope_life;
  InstallEnvelope made{.version = open->version, .envelope = {}};
  if (!open->secrets.empty()) {
    TRY(made.envelope,
        core_.deps().sealer->seal(open->secrets, {tenant, install}, open->version, expires));
  }
  const std::scoped_lock lock(slot.mutex);
  slot.made = made;
  slot.expires = expires;
  return made;
}

std::optional<InstallEnvelope> Envelopes::kept(Slot& slot, const std::string& version,
                                               std::chrono::milliseconds margin) const {
  const std::scoped_lock lock(slot.mutex);
  const bool good = slot.made.version == version && core_.now() + margin < slot.expires;
  return good ? std::optional{slot.made} : std::nullopt;
}

std::shared_ptr<Envelopes::Slot> Envelopes::slot(const TenantId& tenant, const InstallId& install) {
  const std::scoped_lock lock(mutex_);
  std::pair name{tenant.str(), install.str()};
  // Whoever still makes one for a slot that is dropped here finishes with its own reference.
  if (slots_.size() >= kInstalls && !slots_.contains(name)) slots_.clear();
  auto& place = slots_[std::move(name)];
  if (place == nullptr) place = std::make_shared<Slot>();
  return place;
}

std::chrono::milliseconds Envelopes::least_life() const {
  const std::chrono::milliseconds quarter = core_.options().envelope_life / 4;
  return std::min(kUsualLeastLife, quarter);
}

std::optional<WallTime> Envelopes::renew_at(
    const std::optional<domain::SecretEnvelope>& envelope) const {
  if (!envelope || !envelope->expires_at) return std::nullopt;
  const std::optional<WallTime> expires = parse_rfc3339(*envelope->expires_at);
  if (!expires) return std::nullopt;
  return *expires - least_life();
}

}  // namespace alga::control_plane
