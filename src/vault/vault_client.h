#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/secret.h"
#include "json/parse.h"
#include "vault/transport.h"

namespace alga::vault {

/// A Vault token and how long it lives. `lifetime` of zero: until somebody replaces it.
struct VaultToken {
  Secret token;
  std::chrono::seconds lifetime{0};
  bool renewable = false;
};

class VaultClient;

/// How the client gets its token.
class VaultLogin {
 public:
  virtual ~VaultLogin() = default;
  /// A fresh token. `client` may be used for calls without a token.
  virtual Result<VaultToken> login(VaultClient& client) = 0;
  /// True when login() would give another token than the last time; asked before each call.
  [[nodiscard]] virtual bool changed() { return false; }
};

/// Talks to Vault (or OpenBao) over its HTTP API. Thread-safe; blocks.
///
/// Tries again a bounded number of times after a broken connection, 429 and 5xx (not after 503
/// "sealed"); when all attempts have failed it answers `vault.unavailable` at once for a second, so
/// that a stampede does not become a storm. A 403 with a token that login() can replace is tried
/// once more with a new token.
///
/// Errors: `vault.unavailable`, `vault.sealed`, `vault.denied`, `vault.rate_limited`,
/// `vault.not_found`, `vault.bad_request`, `vault.cas_conflict`, `vault.bad_response`,
/// `vault.invalid_name`, and those of the login (`vault.no_token`). Messages carry Vault's own
/// error texts only for `vault.bad_request`, never a value.
class VaultClient {
 public:
  struct Options {
    std::string address;     ///< `https://vault:8200`
    std::string name_space;  ///< `X-Vault-Namespace`, or empty
    std::chrono::milliseconds timeout{5'000};
    int attempts = 3;
    /// Asks Vault how long a token lives whose login did not say (`auth/token/lookup-self`), so
    /// that it is renewed in time. A token that may not ask is used until it is replaced.
    bool learn_lifetimes = false;
    /// Waits between attempts; by default sleeps.
    std::function<void(std::chrono::milliseconds)> pause;
    /// Where each request is counted (`alga_vault_requests_total` by outcome,
    /// `alga_vault_request_seconds`); outlives the client; null: nowhere.
    Metrics* metrics = nullptr;
  };
  /// `transport` and `clock` outlive the client; `login` may be null for calls without a token.
  VaultClient(Options options, std::unique_ptr<VaultLogin> login, Transport& transport,
              const Clock& clock);

  /// `path` is relative to `/v1/`; made of validated segments. A null body sends none. The answer
  /// is the JSON document, null for 204.
  Result<json::Value> call(std::string_view method, std::string_view path,
                           const json::Value* body = nullptr);
  /// The same without a token: for logins.
  Result<json::Value> call_without_token(std::string_view method, std::string_view path,
                                         const json::Value& body);
  /// Whether Vault is initialised, unsealed and reachable.
  Status probe();
  /// Renews the token when it is due, even if nobody calls; see TokenKeeper. Does nothing before
  /// the first login.
  Status tend();

 private:
  /// Series of the metrics, by the codes of errors without `vault.`.
  struct Series {
    explicit Series(Metrics& metrics);
    void count(const Result<json::Value>& answer, std::chrono::duration<double> took) noexcept;
    Histogram& seconds;
    std::map<std::string_view, Counter*> by_outcome;
  };
  Result<std::string> token();
  void forget_token();
  Result<json::Value> attempt(std::string_view method, std::string_view path,
                              const json::Value* body, const std::string& token);
  Result<json::Value> exchange(std::string_view method, std::string_view path,
                               const json::Value* body, const std::string& token);
  Result<json::Value> with_retries(std::string_view method, std::string_view path,
                                   const json::Value* body, const std::string& token);
  [[nodiscard]] std::optional<Error> resting() const;
  void rest(const Error& because);
  Status renew_if_due();
  void learn_lifetime(VaultToken& token);
  void accept(VaultToken token);

  Options options_;
  std::unique_ptr<VaultLogin> login_;
  Transport& transport_;
  const Clock& clock_;
  NoMetrics nowhere_;
  Series series_;

  std::mutex token_mutex_;  ///< also makes one login of many
  std::optional<VaultToken> token_;
  SteadyTime token_since_{};
  std::optional<SteadyTime> renewal_tried_;
  mutable std::mutex rest_mutex_;
  std::optional<SteadyTime> rest_until_;
  Error rest_because_;
};

/// True for a mount or key path that may stand in a Vault URL: segments of `[A-Za-z0-9._-]` that do
/// not begin with a dot, and whose first is none of Vault's own (`sys`, `auth`, `identity`,
/// `cubbyhole`).
[[nodiscard]] bool is_mount(std::string_view text);
/// The same for a path below a mount; `transit` keys have one segment.
[[nodiscard]] bool is_secret_path(std::string_view text);

}  // namespace alga::vault
