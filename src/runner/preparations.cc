#include "runner/preparations.h"

#include <utility>

namespace alga::runner {

using domain::Limit;

Preparations::Place::Place(std::string tenant, std::string install)
    : tenant_(std::move(tenant)), install_(std::move(install)) {}

Preparations::Place::Place(Place&& other) noexcept
    : of_(std::exchange(other.of_, nullptr)),
      tenant_(std::move(other.tenant_)),
      install_(std::move(other.install_)) {}

Preparations::Place::~Place() {
  if (of_ != nullptr) of_->leave(tenant_, install_);
}

std::expected<Preparations::Place, Limit> Preparations::take(const std::string& tenant,
                                                             const std::string& install) {
  Place place(tenant, install);
  const std::scoped_lock lock(mutex_);
  const auto known = tenants_.find(tenant);
  if (known != tenants_.end()) {
    const Tenant& of = known->second;
    const auto same = of.installs.find(install);
    if (of.size >= most_.tenant) return std::unexpected(Limit::executions_per_tenant);
    if (same != of.installs.end() && same->second >= most_.install) {
      return std::unexpected(Limit::executions_per_install);
    }
  }
  if (size_ >= most_.process) return std::unexpected(Limit::executions);
  Tenant& of = tenants_[tenant];
  ++of.size;
  now_.set(static_cast<double>(++size_));
  place.of_ = this;  // from here on it counts, also when there is no memory for what follows
  ++of.installs[install];
  return place;
}

void Preparations::leave(const std::string& tenant, const std::string& install) {
  const std::scoped_lock lock(mutex_);
  const auto of = tenants_.find(tenant);
  const auto same = of->second.installs.find(install);
  if (same != of->second.installs.end() && --same->second == 0) of->second.installs.erase(same);
  if (--of->second.size == 0) tenants_.erase(of);
  now_.set(static_cast<double>(--size_));
}

std::size_t Preparations::size() const {
  const std::scoped_lock lock(mutex_);
  return size_;
}

std::size_t Preparations::tenants() const {
  const std::scoped_lock lock(mutex_);
  return tenants_.size();
}

}  // namespace alga::runner
