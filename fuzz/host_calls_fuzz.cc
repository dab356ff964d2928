// What guests bring into host calls: header fields, methods, routes and log lines leave the host as
// something that no other reader takes for more; arguments of storage, configuration and secrets
// reach what is behind them as they are, for their own install, and nobody's log.
#include <algorithm>
#include <array>
#include <vector>

#include "domain/egress_policy.h"
#include "egress/outgoing_headers.h"
#include "engine/guest_log.h"
#include "engine/testing_host.h"
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

using engine::testing::KeptCall;

/// An execution that has every grant, one setting and one secret, with fakes behind it.
class Host final : public engine::testing::HostCallsTest {
 public:
  explicit Host(std::string_view text) : rest_(text) { options.capability_log_sampling = 1; }
  void TestBody() override {}

  void call_storage() {
    static constexpr std::array ops{AB_OP_STORAGE_GET, AB_OP_STORAGE_PUT, AB_OP_STORAGE_DELETE,
                                    AB_OP_STORAGE_LIST};
    const std::size_t which = byte();
    stored.condition = static_cast<ab_condition>(which / ops.size() % 3);
    stored.has_ttl = which >> 4U & 1U;
    stored.revision = stored.limit = stored.ttl_seconds = byte();
    const std::string_view ns = next(), key = next(), cursor = next(), value = rest_;
    stored.ns = engine::to_ab(ns);
    stored.key = engine::to_ab(key);
    stored.cursor = engine::to_ab(cursor);
    stored.value = engine::to_ab_view(value);
    const auto call = made(ops[which % ops.size()], "");
    must(storage.calls.size() == 1, "one call is one operation");
    const std::string& seen = storage.calls.front();
    const std::string whose = " acme install the-grant ";
    must(seen.contains(whose) && seen.substr(seen.find(whose) + whose.size()) ==
                                     std::string(ns) + ' ' + std::string(key),
         "namespace and key arrive as they are, for their own install");
    if (!storage.puts.empty()) {
      must(storage.puts.front().value == value, "a value arrives as it is");
      must(storage.puts.front().ttl_seconds.has_value() == (stored.has_ttl != 0),
           "so does its TTL");
    }
    if (!storage.limits.empty()) must(storage.limits.front() > 0, "a page holds something");
  }

  void call_config(std::string_view key) {
    const auto call = made(AB_OP_CONFIG_GET, key);
    const bool own = key == "colour" || key == "size";
    must((call->how == "string") == own, "a setting answers to its whole name only");
  }

  void call_secret(std::string_view name) {
    const auto call = made(AB_OP_SECRET_GET, name);
    const bool own = name == "api_key" || name == "other";
    must((call->how == "string") == own, "a secret answers to its whole name only");
    must(own || call->error == AB_ERR_MISSING, "another name is missing");
    // Between the words of our own: a name may look like one of them.
    static constexpr std::string_view before = " target=", after = " tenant=acme extension=ext";
    for (const std::string& line : log->lines()) {
      const std::size_t from = line.find(before) + before.size();
      const std::string_view shown = std::string_view(line).substr(from, line.rfind(after) - from);
      must(name.size() < 8 || !shown.contains(name), "the name of a secret is logged in full");
    }
  }

 private:
  std::unique_ptr<KeptCall> made(ab_op op, std::string_view key) {
    auto call = std::make_unique<KeptCall>();
    must(ask(*call, op, key) == 0, "no argument ends its guest");
    must(call->answers == 1, "a call has one answer");
    for (const std::string& line : log->lines()) must(is_plain(line), "a line drives no terminal");
    for (const std::string& event : records.events()) {
      must(is_plain(event), "a record drives no terminal");
    }
    return call;
  }

  static bool is_plain(std::string_view line) {
    return is_utf8(line) &&
           std::ranges::all_of(line, [](char c) { return c == '\t' || !has_controls({&c, 1}); });
  }

  std::size_t byte() {
    if (rest_.empty()) return 0;
    const auto first = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }
  std::string_view next() {
    const std::size_t end = std::min(rest_.find('\n'), rest_.size());
    const std::string_view part = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return part;
  }

  std::string_view rest_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  send_headers(text);
  call_route(text);
  Host(text).call_storage();
  Host(text).call_config(text);
  Host(text).call_secret(text);
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
