#pragma once

#include <cstddef>
#include <expected>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/metrics.h"
#include "domain/limits.h"

namespace alga::runner {

/// Counts the executions that wait for what they need: a bundle that is fetched, secrets that
/// somebody else opens, a component that is made ready. So many in the process, of one tenant and
/// of one install: whoever floods a runner with what is slow to prepare is refused before others
/// are. Thread-safe.
class Preparations {
 public:
  /// `now` shows how many there are; it outlives this.
  Preparations(domain::Lines most, Gauge& now) : most_(most), now_(now) {}
  Preparations(const Preparations&) = delete;
  Preparations& operator=(const Preparations&) = delete;

  /// Held while one execution is prepared; not longer than the Preparations.
  class Place {
   public:
    Place(Place&& other) noexcept;
    Place& operator=(Place&&) = delete;
    ~Place();

   private:
    friend class Preparations;
    Place(std::string tenant, std::string install);
    Preparations* of_ = nullptr;  ///< null: counts nowhere
    std::string tenant_, install_;
  };

  /// A place, or the limit that stands in the way: `executions_per_tenant`,
  /// `executions_per_install` or `executions`.
  [[nodiscard]] std::expected<Place, domain::Limit> take(const std::string& tenant,
                                                         const std::string& install);

  [[nodiscard]] std::size_t size() const;
  /// Tenants that have a place.
  [[nodiscard]] std::size_t tenants() const;

 private:
  struct Tenant {
    std::size_t size = 0;
    std::unordered_map<std::string, std::size_t> installs;
  };
  void leave(const std::string& tenant, const std::string& install);

  const domain::Lines most_;
  Gauge& now_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Tenant> tenants_;  ///< none is empty
  std::size_t size_ = 0;
};

}  // namespace alga::runner
