#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/secret.h"
#include "domain/ports/install_directory.h"
#include "egress/http_client.h"

namespace alga::runner {

/// The directory of a registry in another process: `GET /api/installs/lookup-by-host` and
/// `GET /api/installs/validate` with `x-api-key`. Thread-safe.
class HttpInstallDirectory final : public domain::InstallDirectory {
 public:
  struct Options {
    std::string url;  ///< base, without a slash at its end
    std::function<Result<Secret>()> key;
    std::chrono::milliseconds timeout{750};
    egress::ClientTls tls;
  };
  /// `client` outlives the directory.
  HttpInstallDirectory(Options options, egress::HttpClient& client);

  async::Task<Result<domain::InstalledBundle>> by_host(std::string host) override;
  async::Task<Result<bool>> is_installed(domain::InstalledBundle bundle) override;

 private:
  async::Task<Result<domain::HttpResponse>> get(std::string path);

  Options options_;
  egress::HttpClient& client_;
};

}  // namespace alga::runner
