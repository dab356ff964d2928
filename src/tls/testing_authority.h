#pragma once

#include <memory>
#include <string>
#include <vector>

namespace alga::tls {

/// PEM texts of one certificate.
struct TestingIdentity {
  std::string certificate;
  std::string private_key;
};

/// A certificate authority that lives as long as a test: EC P-256, valid from yesterday for a day
/// or two. For tests only; failures of OpenSSL abort.
class TestingAuthority {
 public:
  TestingAuthority();
  ~TestingAuthority();
  TestingAuthority(const TestingAuthority&) = delete;
  TestingAuthority& operator=(const TestingAuthority&) = delete;

  [[nodiscard]] const std::string& certificate() const [[clang::lifetimebound]];
  /// A leaf for server and client use. `alternative_names` in OpenSSL's spelling: `DNS:a.test`,
  /// `IP:127.0.0.1`, `URI:spiffe://x/y`.
  [[nodiscard]] TestingIdentity issue(const std::vector<std::string>& alternative_names);
  /// The same, already expired.
  [[nodiscard]] TestingIdentity issue_expired(const std::vector<std::string>& alternative_names);

 private:
  struct State;
  [[nodiscard]] TestingIdentity issue(const std::vector<std::string>& names, long from, long until);
  std::unique_ptr<State> state_;
};

}  // namespace alga::tls
