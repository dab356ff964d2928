#include "egress/curl_egress.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <cstring>
#include <utility>

#include "egress/outgoing_headers.h"

namespace alga::egress {

CurlEgress::CurlEgress(std::shared_ptr<CurlLoop> loop, CurlEgressOptions options)
    : loop_(std::move(loop)),
      options_(std::move(options)),
      own_addresses_(
          std::make_shared<const std::vector<domain::AddressBytes>>(options_.own_addresses)) {}

std::vector<domain::AddressBytes> interface_addresses() {
  std::vector<domain::AddressBytes> found;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return found;
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    domain::AddressBytes address{.bytes = {}, .v6 = one->ifa_addr->sa_family == AF_INET6};
    if (address.v6) {
      sockaddr_in6 v6{};
      std::memcpy(&v6, one->ifa_addr, sizeof v6);
      std::memcpy(address.bytes.data(), &v6.sin6_addr, 16);
    } else if (one->ifa_addr->sa_family == AF_INET) {
      sockaddr_in v4{};
      std::memcpy(&v4, one->ifa_addr, sizeof v4);
      std::memcpy(address.bytes.data(), &v4.sin_addr, 4);
    } else {
      continue;
    }
    found.push_back(address);
  }
  ::freeifaddrs(list);
  return found;
}

std::uint64_t CurlEgress::fetch(domain::EgressRequest request,
                                Callback<domain::HttpResponse> done) {
  if (!request.policy) {
    return loop_->reject({Kind::denied, "egress.denied", "no policy allows requests"},
                         std::move(done));
  }
  std::string pool = request.partition + "\n" + request.policy->digest();
  Result<TransferSpec> spec = judge(std::move(request));
  if (!spec) return loop_->reject(std::move(spec).error(), std::move(done));
  return loop_->start(std::move(*spec), std::move(pool), std::move(done));
}

Result<TransferSpec> CurlEgress::judge(domain::EgressRequest request) const {
  TRY(std::string method, outgoing_method(request.http.method));
  TRY(domain::EgressPolicy::Target target, request.policy->judge(method, request.http.url));
  TRY(domain::Headers headers, outgoing_headers(request.http.headers, request.header_limits));
  headers.push_back({std::string(domain::depth_header), std::to_string(request.depth)});
  if (request.http.body) {
    if (request.http.body->size() > options_.max_request_bytes) {
      return fail(Kind::too_large, "egress.too_large", "the request body is too large");
    }
    if (method == "HEAD" && !request.http.body->empty()) {
      return fail(Kind::invalid, "egress.invalid_request", "a HEAD request has no body");
    }
  }
  return TransferSpec{.method = std::move(method),
                      .url = std::move(target.url),
                      .headers = std::move(headers),
                      .body = std::move(request.http.body),
                      .deadline = request.deadline,
                      .max_response_bytes = request.max_response_bytes,
                      .header_limits = request.header_limits,
                      .policy = std::move(request.policy),
                      .own_addresses = own_addresses_,
                      .tls = {.authorities_file = options_.authorities_file},
                      .fixed_addresses = options_.fixed_addresses};
}

}  // namespace alga::egress
