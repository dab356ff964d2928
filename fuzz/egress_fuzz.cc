#include <string>
#include <vector>

#include "domain/egress_policy.h"
#include "domain/egress_url.h"
#include "property.h"

namespace {

using alga::domain::EgressPolicy;
using alga::domain::EgressUrl;
using alga::fuzz::must;

void canonical_url(std::string_view text) {
  auto url = EgressUrl::parse(text);
  if (!url) return;
  auto again = EgressUrl::parse(url->str());
  must(again.has_value(), "a canonical URL parses");
  must(again->str() == url->str(), "a canonical URL is stable");
  must(again->host == url->host && again->port == url->port, "host and port survive");
  must(url->address.has_value() || alga::domain::is_canonical_hostname(url->host),
       "the host is an address or a plain name");
  for (char c : url->str()) must(c > 0x20 && c < 0x7F, "a canonical URL is visible ASCII");
  static const EgressPolicy anywhere = EgressPolicy::parse({"http://*", "https://*"}).value();
  must(!url->address || alga::domain::is_public(*url->address) ||
           !anywhere.judge("GET", text).has_value(),
       "an address that is not public needs a rule of its own");
}

void judged_url(std::string_view rule, std::string_view text) {
  auto policy = EgressPolicy::parse({std::string(rule)});
  if (!policy) return;
  auto same = EgressPolicy::parse(policy->rules());
  must(same.has_value() && same->digest() == policy->digest(), "canonical rules mean the same");
  must(!EgressPolicy{}.judge("GET", text).has_value(), "the empty policy allows nothing");
  auto target = policy->judge("GET", text);
  if (!target) return;
  auto dialled = EgressUrl::parse(target->url);
  must(dialled.has_value(), "what is dialled is a URL");
  must(dialled->host == target->host && dialled->port == target->port,
       "what is judged is what is dialled");
  must(target->url.find('@') == std::string::npos ||
           target->url.find('@') > target->url.find('/', 8),
       "no user information is dialled");
  must(policy->judge("GET", target->url).has_value(), "what is dialled would be allowed itself");
}

}  // namespace

// The first line is a rule, the rest a URL.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto [rule, url] = alga::fuzz::two_texts(data, size);
  canonical_url(url);
  judged_url(rule, url);
  return 0;
}
