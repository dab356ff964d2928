#pragma once

#include "control_plane/core.h"
#include "domain/ports/install_directory.h"

namespace alga::control_plane {

/// domain::InstallDirectory over the installs' table. Thread-safe.
class SqlInstallDirectory final : public domain::InstallDirectory {
 public:
  explicit SqlInstallDirectory(const Core& core) : core_(core) {}

  async::Task<Result<domain::InstalledBundle>> by_host(std::string host) override;
  async::Task<Result<bool>> is_installed(domain::InstalledBundle bundle) override;

  /// The same on the calling thread; errors of sql beside those of the port.
  [[nodiscard]] Result<domain::InstalledBundle> find_host(const std::string& host) const;
  [[nodiscard]] Result<bool> find_installed(const domain::InstalledBundle& bundle) const;

 private:
  const Core& core_;
};

}  // namespace alga::control_plane
