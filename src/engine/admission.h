#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/job.h"

namespace alga::engine {

/// Who of the jobs that come has a place, and who waits for one: so many places in the process, of
/// one tenant and of one install. Whoever gets a place that became free is next in turn, first
/// among the tenants that wait, then among that tenant's installs, then in the order they came: one
/// install that floods holds up neither the others of its tenant nor other tenants. Not
/// thread-safe.
class Admission {
 public:
  struct Bounds {
    std::uint32_t running = 64, running_per_tenant = 16, running_per_install = 12;
    std::uint32_t waiting = 1024, waiting_per_tenant = 256, waiting_per_install = 192;
  };
  explicit Admission(Bounds bounds) : bounds_(bounds) {}

  enum class Answer : std::uint8_t { admitted, waits, full, tenant_full, install_full };
  /// Gives the job a place, or lets it wait for one if it may, or neither. Of the bounds of places
  /// and of lines that are used up the one named is the tenant's, else the install's, else the
  /// process's.
  [[nodiscard]] Answer ask(const JobPtr& job, bool may_wait);
  /// The place of an admitted job is free.
  void leave(const Job& job);
  /// One of those who wait has a place now; null when nobody's bounds allow it.
  [[nodiscard]] JobPtr next();
  /// A job that waits gets a place though there may be none: it comes to its end there.
  void squeeze_in(const JobPtr& job);
  /// A job that waits does so no longer. What it waited for: `full`, `tenant_full` or
  /// `install_full`.
  Answer give_up(const JobPtr& job);
  /// Nobody waits any longer.
  [[nodiscard]] std::vector<JobPtr> give_up_all();

  [[nodiscard]] bool waits(const Job& job) const { return job.waiting_; }
  [[nodiscard]] bool anybody_waits(const std::string& tenant) const;
  [[nodiscard]] std::uint32_t running() const { return running_; }
  [[nodiscard]] std::uint32_t waiting() const { return waiting_; }
  /// Tenants with a job that runs or waits.
  [[nodiscard]] std::size_t tenants() const { return tenants_.size(); }

 private:
  struct Install {
    std::list<JobPtr> waiting;
    std::list<std::string>::iterator turn{};  ///< while jobs wait
    std::uint32_t running = 0;
  };
  struct Tenant {
    std::map<std::string, Install> installs;
    std::list<std::string> turns;  ///< installs with waiting jobs, in turn
    std::list<std::string>::iterator turn{};
    std::uint32_t running = 0, waiting = 0;
  };

  void take_place(Tenant& tenant, Install& install);
  void take_out(Job& job, Tenant& tenant, Install& install);
  /// What stands in the way of a job of this install, `admitted` for nothing.
  [[nodiscard]] Answer obstacle(const Tenant& tenant, const Install& install) const;
  /// Lets go of what is empty.
  void tidy(const Job& job);

  const Bounds bounds_;
  std::unordered_map<std::string, Tenant> tenants_;
  std::list<std::string> turns_;  ///< tenants with waiting jobs, in turn
  std::uint32_t running_ = 0, waiting_ = 0;
};

}  // namespace alga::engine
