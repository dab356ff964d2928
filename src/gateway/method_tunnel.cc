#include "gateway/method_tunnel.h"

#include "base/bytes.h"
#include "json/parse.h"

namespace alga::gateway {
namespace {

constexpr std::string_view kMarker = "__method";

Result<std::string> parse_method(std::string_view text) {
  std::string method;
  for (const char c : trim(text)) method += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  for (const std::string_view known : {"GET", "POST", "PUT", "PATCH", "DELETE"}) {
    if (method == known) return method;
  }
  return fail(Kind::invalid, "gateway.bad_method", "__method names no method");
}

/// Takes every `__method=…` out of the query and answers the first value.
std::optional<std::string> take_from_query(std::string& query) {
  std::optional<std::string> found;
  std::string rest;
  for (std::string_view left = query; !left.empty();) {
    const std::size_t end = left.find('&');
    const std::string_view pair = left.substr(0, end);
    left = end == std::string_view::npos ? std::string_view{} : left.substr(end + 1);
    const std::size_t equals = pair.find('=');
    if (pair.substr(0, equals) == kMarker) {
      if (!found) found = equals == pair.npos ? "" : std::string(pair.substr(equals + 1));
      continue;
    }
    if (!rest.empty()) rest += '&';
    rest += pair;
  }
  if (found) query = std::move(rest);
  return found;
}

/// Where a member of the outermost object stands in the text: from the quote of its name to behind
/// its value.
struct Span {
  std::size_t begin = 0, end = 0;
};

std::size_t end_of_string(std::string_view text, std::size_t quote) {
  for (std::size_t i = quote + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return text.size();
}

/// `text` is known to be a JSON object, so that finding borders is enough.
std::optional<Span> find_member(std::string_view text, std::string_view name) {
  int depth = 0;
  std::optional<std::size_t> begin;
  bool expects_name = true;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      const std::size_t end = end_of_string(text, i);
      const bool is_name = depth == 1 && expects_name;
      if (is_name && text.substr(i + 1, end - i - 2) == name) begin = i;
      if (is_name) expects_name = false;
      i = end - 1;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      --depth;
      if (depth == 0 && begin) return Span{*begin, i};
    } else if (c == ',' && depth == 1) {
      if (begin) return Span{*begin, i};
      expects_name = true;
    }
  }
  return std::nullopt;
}

void erase_member(std::string& text, Span span) {
  if (text[span.end] == ',') {
    text.erase(span.begin, span.end + 1 - span.begin);
    return;
  }
  const std::size_t comma = text.find_last_not_of(" \t\r\n", span.begin - 1);
  const std::size_t begin = comma != std::string::npos && text[comma] == ',' ? comma : span.begin;
  text.erase(begin, span.end - begin);
}

/// Takes the member out of the body and answers its value.
std::optional<std::string> take_from_body(std::optional<std::string>& body) {
  if (!body || !body->contains("\"__method\"")) return std::nullopt;
  const auto document = json::parse(*body, {.max_bytes = 64U << 20U, .max_depth = 64});
  if (!document || !document->is_object()) return std::nullopt;
  const auto& members = document->get_object();
  const auto* marker = members.if_contains(kMarker);
  const auto span = find_member(*body, kMarker);
  if (marker == nullptr || !span) return std::nullopt;
  std::string value = marker->is_string() ? std::string(marker->get_string()) : std::string{};
  if (members.size() == 1) {
    body.reset();
  } else {
    erase_member(*body, *span);
  }
  return value;
}

}  // namespace

Result<TunnelledRequest> untunnel(TunnelledRequest request, std::string_view content_type) {
  if (request.method != "POST") return request;
  std::optional<std::string> marker = take_from_query(request.query);
  const bool is_json = to_lower(content_type.substr(0, content_type.find(';'))).contains("json");
  if (!marker && is_json) marker = take_from_body(request.body);
  if (!marker) return request;
  TRY(request.method, parse_method(*marker));
  if (request.method == "GET") request.body.reset();
  return request;
}

}  // namespace alga::gateway
