#include "egress/addresses_of.h"

#include <curl/curl.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>

namespace alga::egress {
namespace {

constexpr std::size_t kMost = 64;

struct CurlFree {
  void operator()(char* text) const { curl_free(text); }
};

Result<std::string> host_of(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl_url(), &curl_url_cleanup);
  char* host = nullptr;
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parsed.get(), CURLUPART_HOST, &host, 0) != CURLUE_OK) {
    return fail(Kind::invalid, "egress.invalid_url", "the URL is not acceptable");
  }
  const std::unique_ptr<char, CurlFree> owned(host);
  return std::string(host);
}

bool is_v6(const std::string& address) { return address.contains(':'); }

}  // namespace

std::vector<std::string> several_servers(const std::vector<std::string>& resolved) {
  std::vector<std::string> chosen;
  std::vector<std::string> others;
  for (const std::string& address : resolved) {
    std::vector<std::string>& family = is_v6(address) == is_v6(resolved.front()) ? chosen : others;
    if (std::ranges::find(family, address) == family.end()) family.push_back(address);
  }
  if (others.size() > chosen.size()) chosen.swap(others);
  if (chosen.size() < 2) return {};
  if (chosen.size() > kMost) chosen.resize(kMost);
  return chosen;
}

Result<std::vector<std::string>> addresses_of(const std::string& url) {
  TRY(const std::string host, host_of(url));
  if (host.starts_with('[')) return std::vector<std::string>{};
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_ADDRCONFIG;
  addrinfo* first = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &wanted, &first); error != 0) {
    return fail(Kind::unavailable, "egress.transport", std::string(::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(first, &::freeaddrinfo);
  std::vector<std::string> resolved;
  for (const addrinfo* entry = first; entry != nullptr; entry = entry->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(entry->ai_addr, entry->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      resolved.emplace_back(text.data());
    }
  }
  return several_servers(resolved);
}

}  // namespace alga::egress
