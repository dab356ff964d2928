#include "httpd/head.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "httpd/url.h"

namespace alga::httpd {
namespace {

std::unexpected<HeadFault> fault(std::uint16_t status, std::string_view code,
                                 std::string_view message) {
  return std::unexpected(HeadFault{status, code, message});
}
std::unexpected<HeadFault> malformed(std::string_view message) {
  return fault(400, "http.bad_request", message);
}

/// Takes one line off `text`; the caller has made sure that there is a CRLF.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find("\r\n");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 2);
  return line;
}

/// Blanks and tabs only: the other space characters are not optional whitespace in HTTP.
std::string_view trim_blanks(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (iequals(trim(list.substr(0, comma)), token)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

std::optional<HeadFault> parse_request_line(std::string_view line, const HeadLimits& limits,
                                            RequestHead& head) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return HeadFault{400, "http.bad_request", "malformed request line"};
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!domain::is_http_token(method) || method.size() > 32) {
    return HeadFault{400, "http.bad_request", "malformed method"};
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return HeadFault{505, "http.unsupported_version", "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  }
  if (target.size() > limits.max_target) {
    return HeadFault{414, "http.uri_too_long", "the request target is too long"};
  }
  const std::size_t mark = target.find('?');
  head.method = method;
  head.path = target.substr(0, mark);
  if (mark != std::string_view::npos) head.query = target.substr(mark + 1);
  head.http11 = version == "HTTP/1.1";
  if (!check_path(head.path)) {
    return HeadFault{400, "http.invalid_path", "the request path is not acceptable"};
  }
  if (!check_query(head.query)) {
    return HeadFault{400, "http.invalid_query", "the query has characters that must be escaped"};
  }
  return std::nullopt;
}

std::optional<HeadFault> parse_fields(std::string_view text, const HeadLimits& limits,
                                      RequestHead& head) {
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (line.empty()) return std::nullopt;
    if (line.front() == ' ' || line.front() == '\t') {
      return HeadFault{400, "http.bad_request", "folded header lines are refused"};
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !domain::is_http_token(line.substr(0, colon))) {
      return HeadFault{400, "http.bad_request", "malformed header name"};
    }
    const std::string_view value = trim_blanks(line.substr(colon + 1));
    if (!domain::is_header_value(value)) {
      return HeadFault{400, "http.bad_request", "control character in a header"};
    }
    if (head.headers.size() == limits.max_fields) {
      return HeadFault{431, "http.too_many_headers", "too many header fields"};
    }
    head.headers.push_back({std::string(line.substr(0, colon)), std::string(value)});
  }
  return std::nullopt;
}

std::optional<HeadFault> apply_length(std::string_view value, RequestHead& head) {
  const char* end = value.data() + value.size();
  const bool digits = !value.empty() && value.find_first_not_of("0123456789") == value.npos;
  const auto [stop, error] = std::from_chars(value.data(), end, head.content_length);
  if (!digits || error != std::errc{} || stop != end) {
    return HeadFault{400, "http.bad_request", "malformed content-length"};
  }
  return std::nullopt;
}

std::optional<HeadFault> apply_fields(RequestHead& head) {
  std::size_t hosts = 0;
  std::size_t lengths = 0;
  std::size_t encodings = 0;
  bool close = false;
  bool keep = false;
  for (const domain::Header& field : head.headers) {
    if (iequals(field.name, "host")) {
      ++hosts;
    } else if (iequals(field.name, "content-length")) {
      ++lengths;
      if (auto problem = apply_length(field.value, head)) return problem;
    } else if (iequals(field.name, "transfer-encoding")) {
      ++encodings;
      head.chunked = true;
      if (!iequals(field.value, "chunked")) {
        return HeadFault{501, "http.unsupported_transfer_encoding",
                         "the only transfer-encoding spoken here is chunked"};
      }
    } else if (iequals(field.name, "connection")) {
      close = close || has_token(field.value, "close");
      keep = keep || has_token(field.value, "keep-alive");
    } else if (iequals(field.name, "expect")) {
      if (!iequals(field.value, "100-continue")) {
        return HeadFault{417, "http.expectation_failed", "unknown expectation"};
      }
      head.expects_continue = head.http11;
    }
  }
  if (hosts > 1 || (hosts == 0 && head.http11)) {
    return HeadFault{400, "http.bad_request", "exactly one host header is needed"};
  }
  if (lengths > 1 || encodings > 1 || (lengths > 0 && encodings > 0) ||
      (encodings > 0 && !head.http11)) {
    return HeadFault{400, "http.bad_request", "contradictory message length"};
  }
  head.keep_alive = !close && (head.http11 || keep);
  return std::nullopt;
}

/// Fields of a Response that the server alone decides.
bool is_framing(std::string_view name) {
  constexpr std::array<std::string_view, 9> names{
      "connection", "content-length",     "keep-alive",        "proxy-connection", "te",
      "trailer",    "proxy-authenticate", "transfer-encoding", "upgrade"};
  return std::ranges::any_of(names, [&](std::string_view one) { return iequals(one, name); });
}

std::string_view reason_phrase(std::uint16_t status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 416: return "Range Not Satisfiable";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "";
  }
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

std::expected<std::optional<std::size_t>, HeadFault> find_head(std::string_view received,
                                                               const HeadLimits& limits) {
  const std::size_t end = received.substr(0, limits.max_bytes).find("\r\n\r\n");
  if (end != std::string_view::npos) return end + 4;
  // Whoever speaks TLS here, or nothing at all, need not wait for the timeout.
  if (!received.empty() && !domain::is_http_token(received.substr(0, 1))) {
    return malformed("malformed request line");
  }
  if (received.size() >= limits.max_bytes) {
    return fault(431, "http.header_too_large", "the request header is too large");
  }
  return std::nullopt;
}

std::expected<RequestHead, HeadFault> parse_head(std::string_view text, const HeadLimits& limits) {
  if (!text.ends_with("\r\n\r\n")) return malformed("incomplete request header");
  RequestHead head;
  if (auto problem = parse_request_line(take_line(text), limits, head)) {
    return std::unexpected(*problem);
  }
  if (auto problem = parse_fields(text, limits, head)) return std::unexpected(*problem);
  if (auto problem = apply_fields(head)) return std::unexpected(*problem);
  return head;
}

std::optional<std::string> serialize_head(const Response& response, const Framing& framing,
                                          std::string_view request_id, std::string_view date) {
  std::string out;
  out.reserve(512);
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", response.status,
                 reason_phrase(response.status));
  bool has_cache = false;
  bool has_id = false;
  bool has_sniff = false;
  bool has_date = false;
  for (const domain::Header& field : response.headers) {
    if (is_framing(field.name)) continue;
    if (!domain::is_http_token(field.name) || !domain::is_header_value(field.value)) {
      return std::nullopt;
    }
    has_cache = has_cache || iequals(field.name, "cache-control");
    has_id = has_id || iequals(field.name, "x-request-id");
    has_sniff = has_sniff || iequals(field.name, "x-content-type-options");
    has_date = has_date || iequals(field.name, "date");
    append_field(out, field.name, field.value);
  }
  if (!has_date) append_field(out, "date", date);
  if (!has_cache) append_field(out, "cache-control", "no-store");
  if (!has_sniff) append_field(out, "x-content-type-options", "nosniff");
  if (!has_id) append_field(out, "x-request-id", request_id);
  if (framing.chunked) append_field(out, "transfer-encoding", "chunked");
  if (framing.content_length) {
    append_field(out, "content-length", std::to_string(*framing.content_length));
  }
  append_field(out, "connection", framing.keep_alive ? "keep-alive" : "close");
  out.append("\r\n");
  return out;
}

std::string http_date(WallTime time) {
  using namespace std::chrono;
  constexpr std::array<std::string_view, 7> days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto day = floor<std::chrono::days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{floor<seconds>(time - day)};
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", days[weekday{day}.c_encoding()],
                     static_cast<unsigned>(date.day()),
                     months[static_cast<unsigned>(date.month()) - 1], static_cast<int>(date.year()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

}  // namespace alga::httpd
