// What passes the path check can be routed, decoded and joined to nothing it should not reach.
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "httpd/message.h"
#include "httpd/url.h"

namespace {

using namespace alga;

async::Task<httpd::Response> nothing(httpd::Request) { co_return httpd::Response{}; }

const httpd::Router& router() {
  static const httpd::Router made = [] {
    httpd::Router result;
    result.add("GET", "/a/{b}/c", nothing);
    result.add("GET", "/a/b/{c...}", nothing);
    result.add("*", "/{all...}", nothing);
    return result;
  }();
  return made;
}

void check_decoded(std::string_view decoded) {
  ALGA_CHECK(is_utf8(decoded));
  for (const char c : decoded) {
    ALGA_CHECK(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F && c != '\\');
  }
  const std::string framed = "/" + std::string(decoded) + "/";
  ALGA_CHECK(!framed.contains("/../") && !framed.contains("/./"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (httpd::check_path(text)) {
    const auto decoded = httpd::percent_decode(text);
    ALGA_CHECK(decoded.has_value());
    check_decoded(*decoded);
    const auto match = router().match("GET", text);
    ALGA_CHECK(match.handler != nullptr);
    for (const auto& [name, value] : match.params) check_decoded(value);
  }
  const auto pairs = httpd::parse_query(text, 100);
  ALGA_CHECK(pairs.size() <= 100);
  std::size_t bytes = 0;
  for (const auto& [name, value] : pairs) bytes += name.size() + value.size();
  ALGA_CHECK(bytes <= size);
  return 0;
}
