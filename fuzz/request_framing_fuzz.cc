// A request head that is taken has nothing in it that another reader could take for a line end, and
// Beast, which decides on the framing of the body, reads the same.
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstddef>
#include <cstdint>

#include "httpd/files.h"
#include "httpd/head.h"

namespace {

namespace http = boost::beast::http;
using namespace alga;

void compare_with_beast(std::string_view text, const httpd::RequestHead& head) {
  http::request_parser<http::empty_body> parser;
  parser.header_limit(1U << 20U);
  parser.body_limit(boost::none);
  boost::system::error_code error;
  parser.put(boost::asio::buffer(text), error);
  if (error && error != http::error::need_more) return;  // refused later, before the body
  if (!parser.is_header_done()) return;
  ALGA_CHECK(parser.chunked() == head.chunked);
  if (!head.chunked) ALGA_CHECK(parser.content_length().value_or(0) == head.content_length);
  ALGA_CHECK(parser.get().method_string() == head.method);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const httpd::HeadLimits limits{.max_bytes = 4096, .max_fields = 20, .max_target = 1000};
  const auto end = httpd::find_head(text, limits);
  if (end && *end) {
    ALGA_CHECK(**end <= size);
    const std::string_view whole = text.substr(0, **end);
    if (const auto head = httpd::parse_head(whole, limits)) {
      ALGA_CHECK(head->headers.size() <= limits.max_fields);
      for (const domain::Header& field : head->headers) {
        ALGA_CHECK(domain::is_http_token(field.name));
        ALGA_CHECK(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
      }
      compare_with_beast(whole, *head);
    }
  }
  const auto range = httpd::parse_range(text, 1000);
  if (range && *range) {
    ALGA_CHECK((*range)->length > 0 && (*range)->first + (*range)->length <= 1000);
  }
  return 0;
}
