#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "control_plane/control_plane.h"
#include "control_plane/record_writer.h"
#include "control_plane/services.h"

namespace alga::control_plane {

/// What has to happen now and then: sealing the audit trail, sweeping expired records and uploads,
/// retention, fresh signing keys. One thread; each duty on a schedule of its own.
class Housekeeping {
 public:
  explicit Housekeeping(Services& services);
  ~Housekeeping();
  void stop();

 private:
  struct Duty {
    const char* name;
    std::chrono::seconds every;
    std::function<Result<bool>()> work;  ///< whether there is more to do at once
    SteadyTime next{};
  };
  void run();
  Result<bool> sweep_storage();

  Services& services_;
  std::vector<Duty> duties_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

/// domain::Authenticator over the API keys.
class KeyAuthenticator final : public domain::Authenticator {
 public:
  explicit KeyAuthenticator(Services& services) : services_(services) {}
  async::Task<Result<domain::Principal>> authenticate(std::string token) override;

 private:
  Services& services_;
};

class SqlControlPlane final : public ControlPlane {
 public:
  explicit SqlControlPlane(Dependencies dependencies) : services_(std::move(dependencies)) {}
  ~SqlControlPlane() override;

  /// Everything that can fail at start.
  Status start();

  void add_routes(httpd::Router& router) override;
  domain::InstallConfigs& install_configs() override { return services_.install_configs; }
  domain::InstallDirectory& install_directory() override { return services_.install_directory; }
  domain::ExtensionStorage& storage() override { return services_.storage; }
  domain::RecordSink& records() override { return services_.records; }
  domain::ExecutionLog& executions() override { return services_.records; }
  domain::Authenticator& authenticator() override { return authenticator_; }
  domain::IdempotencyStore& idempotency() override { return services_.idempotency; }
  Result<Redeemed> redeem(const Redemption& redemption, const RunnerIdentity& runner) override {
    return services_.broker.redeem(redemption, runner);
  }
  std::optional<Secret> take_bootstrap_token() override { return std::exchange(bootstrap_, {}); }
  std::vector<GrantKey> grant_keys() const override {
    return services_.signing.verifiers(KeyPurpose::grant);
  }
  std::vector<GrantKey> broker_keys() const override {
    return services_.signing.verifiers(KeyPurpose::broker);
  }
  const domain::ChangeFeed* change_feed() const override { return keeper_.get(); }
  Status probe() override { return services_.core.db().probe(); }
  void stop(SteadyTime deadline) override;

 private:
  [[nodiscard]] Status check_schema();
  void trust_grant_keys();

  Services services_;
  KeyAuthenticator authenticator_{services_};
  std::unique_ptr<Housekeeping> housekeeping_;
  std::unique_ptr<LeaseKeeper> keeper_;  ///< of a gateway without control plane
  std::optional<Secret> bootstrap_;
};

}  // namespace alga::control_plane
