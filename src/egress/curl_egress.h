#pragma once

#include <memory>
#include <string>
#include <vector>

#include "domain/address.h"
#include "domain/ports/egress.h"
#include "egress/curl_loop.h"

namespace alga::egress {

struct CurlEgressOptions {
  /// PEM file of the authorities that guests' HTTPS is verified against; empty: the system's.
  std::string authorities_file;
  /// `host:port:address` entries in place of DNS. The policy still judges the address.
  std::vector<std::string> fixed_addresses;
  std::size_t max_request_bytes = 64U << 20U;
  /// Public addresses under which this installation is reached: guests may not go there and come
  /// in again as somebody else, unless a `cidr:` rule says so.
  std::vector<domain::AddressBytes> own_addresses;
};

/// The addresses of this machine's network interfaces.
[[nodiscard]] std::vector<domain::AddressBytes> interface_addresses();

/// Guests' requests over curl. Beyond the port's promises: HTTP/1.1 only, certificates verified
/// from TLS 1.2 on, no proxy, cookies, redirects, decompression or environment; a connection
/// belongs to one partition and policy. Further errors: `egress.invalid_request` (method, header or
/// body that cannot be sent), `egress.overloaded`. Thread-safe.
class CurlEgress final : public domain::Egress {
 public:
  CurlEgress(std::shared_ptr<CurlLoop> loop, CurlEgressOptions options);

  std::uint64_t fetch(domain::EgressRequest request, Callback<domain::HttpResponse> done) override;
  void cancel(std::uint64_t id) override { loop_->cancel(id); }

 private:
  [[nodiscard]] Result<TransferSpec> judge(domain::EgressRequest request) const;

  const std::shared_ptr<CurlLoop> loop_;
  const CurlEgressOptions options_;
  const std::shared_ptr<const std::vector<domain::AddressBytes>> own_addresses_;
};

}  // namespace alga::egress
