// What guests bring into host calls: header fields, methods, routes and log lines leave the host as
// something that no other reader takes for more.
#include <algorithm>

#include "domain/egress_policy.h"
#include "egress/outgoing_headers.h"
#include "engine/guest_log.h"
#include "httpd/url.h"
#include "property.h"
#include "runner/http_ui_proxy.h"

using namespace alga;
using fuzz::must;

namespace {

bool has_controls(std::string_view text) {
  return std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

void send_headers(std::string_view text) {
  domain::Headers headers;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t colon = std::min(line.find(':'), line.size());
    headers.push_back({std::string(line.substr(0, colon)),
                       std::string(line.substr(std::min(colon + 1, line.size())))});
  }
  const auto sent = egress::outgoing_headers(headers);
  if (!sent) return;
  for (const domain::Header& field : *sent) {
    const std::string name = to_lower(field.name);
    must(domain::is_http_token(field.name), "a field name is a token");
    must(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos,
         "a value holds no line end");
    must(name != "host" && name != "content-length" && name != "transfer-encoding" &&
             name != "connection" && name != domain::depth_header && !name.starts_with("proxy-"),
         "the framing is not the guest's");
  }
}

void call_route(std::string_view route) {
  const auto encoded = runner::encode_route(route);
  if (!encoded) return;
  must(encoded->starts_with('/'), "a route begins with a slash");
  must(!has_controls(*encoded), "a route holds no control character");
  const std::string_view path = std::string_view(*encoded).substr(0, encoded->find('?'));
  const auto decoded = httpd::percent_decode(path);
  if (!decoded) return must(false, "the escapes of a route are whole");
  must(!(*decoded + '/').contains("/../") && !(*decoded + '/').contains("/./"),
       "a route leads nowhere else");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  send_headers(text);
  call_route(text);
  if (const auto method = egress::outgoing_method(text)) {
    must(domain::is_http_token(*method), "a method is a token");
    must(*method != "CONNECT" && *method != "TRACE", "no method that turns a connection around");
  }
  const std::string line = engine::printable(text);
  must(is_utf8(line), "a log line is UTF-8");
  const bool plain =
      std::ranges::all_of(line, [](char c) { return c == '\t' || !has_controls({&c, 1}); });
  must(plain, "a log line drives no terminal and begins no other line");
  return 0;
}
