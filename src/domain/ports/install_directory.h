#pragma once

#include <string>

#include "async/task.h"
#include "base/ids.h"
#include "base/result.h"

namespace alga::domain {

/// The bundle whose pages an install shows.
struct InstalledBundle {
  TenantId tenant;
  ExtensionId extension;
  ContentHash content_hash;
};

/// Says which install a host name belongs to and which tenant has which bundle installed: the
/// reference's `lookup-by-host` and `validate`. Only enabled installs count. Error when it cannot
/// be asked: `install.unavailable`.
class InstallDirectory {
 public:
  virtual ~InstallDirectory() = default;
  /// `host` is lower case and has no port. Error: `install.not_found`.
  virtual async::Task<Result<InstalledBundle>> by_host(std::string host) = 0;
  virtual async::Task<Result<bool>> is_installed(InstalledBundle bundle) = 0;
};

}  // namespace alga::domain
