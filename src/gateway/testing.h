#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "domain/ports/authenticator.h"
#include "domain/ports/execution_log.h"
#include "domain/ports/install_configs.h"
#include "domain/ports/runner.h"

/// The ports of the gateway in memory; for tests here and of the roles together.
namespace alga::gateway::testing {

class FakeAuthenticator final : public domain::Authenticator {
 public:
  async::Task<Result<domain::Principal>> authenticate(std::string token) override {
    ++calls;
    if (error) co_return fail(*error);
    const auto found = principals.find(token);
    if (found == principals.end()) {
      co_return fail(Kind::unauthenticated, "auth.invalid_token", "no");
    }
    co_return found->second;
  }
  std::map<std::string, domain::Principal> principals;
  std::optional<Error> error;
  int calls = 0;
};

class FakeInstalls final : public domain::InstallConfigs {
 public:
  async::Task<Result<std::shared_ptr<const domain::InstallConfig>>> resolve(
      TenantId tenant, std::string extension) override {
    if (error) co_return fail(*error);
    for (const auto& install : installs) {
      const bool named = extension == install->install.str() ||
                         extension == install->registry.str() || extension == install->slug;
      if (install->tenant == tenant && named) co_return install;
    }
    co_return fail(Kind::not_found, "install.not_found", "none");
  }
  std::vector<std::shared_ptr<domain::InstallConfig>> installs;
  std::optional<Error> error;
};

/// Answers what `answer` says and keeps what it was asked.
class FakeRunner final : public domain::Runner {
 public:
  async::Task<domain::ExecuteResponse> execute(domain::ExecuteRequest request) override {
    requests.push_back(request);
    if (before) co_await before();
    co_return answer;
  }
  domain::ExecuteResponse answer{.status = 200,
                                 .headers = {{"content-type", "text/plain"}},
                                 .body = "hello",
                                 .end_class = "ok"};
  std::function<async::Task<void>()> before;
  std::vector<domain::ExecuteRequest> requests;
};

class FakeExecutionLog final : public domain::ExecutionLog {
 public:
  async::Task<Status> start(domain::StartedExecution execution) override {
    if (error) co_return fail(*error);
    started.push_back(std::move(execution));
    co_return Status{};
  }
  void finish(domain::FinishedExecution execution) noexcept override {
    finished.push_back(std::move(execution));
  }
  std::optional<Error> error;
  std::vector<domain::StartedExecution> started;
  std::vector<domain::FinishedExecution> finished;
};

}  // namespace alga::gateway::testing
