#include "gateway/headers.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "crypto/digest.h"

namespace alga::gateway {
namespace {

constexpr auto kForwarded = std::to_array<std::string_view>(
    {"accept", "accept-encoding", "accept-language", "content-type", "user-agent"});

/// Never forwarded, whatever the operator lists.
constexpr auto kNeverForwarded = std::to_array<std::string_view>({"authorization",
                                                                  "cookie",
                                                                  "cookie2",
                                                                  "proxy-authorization",
                                                                  "x-api-key",
                                                                  "x-alga-grant",
                                                                  "x-runner-auth",
                                                                  "x-runner-service-token",
                                                                  "x-idempotency-key",
                                                                  "x-request-id",
                                                                  "x-alga-tenant",
                                                                  "x-alga-extension",
                                                                  "x-tenant-id",
                                                                  "connection",
                                                                  "keep-alive",
                                                                  "proxy-connection",
                                                                  "te",
                                                                  "trailer",
                                                                  "transfer-encoding",
                                                                  "upgrade",
                                                                  "host",
                                                                  "content-length",
                                                                  "expect",
                                                                  "x-forwarded-for",
                                                                  "x-forwarded-host",
                                                                  "x-forwarded-proto",
                                                                  "forwarded",
                                                                  "traceparent",
                                                                  "x-alga-depth",
                                                                  "x-alga-execution",
                                                                  "tracestate"});

constexpr auto kAnswered =
    std::to_array<std::string_view>({"content-type", "content-language", "content-disposition",
                                     "etag", "last-modified", "retry-after"});

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool is_token_text(std::string_view token) {
  return !token.empty() && std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7f; });
}

/// Drops what would let a shared cache keep the answer.
std::string private_cache_control(std::string_view value) {
  std::string kept = "private";
  while (!value.empty()) {
    const std::size_t comma = value.find(',');
    const std::string directive = to_lower(trim(value.substr(0, comma)));
    value = comma == std::string_view::npos ? std::string_view{} : value.substr(comma + 1);
    const bool shared = directive == "public" || directive == "private" ||
                        directive.starts_with("s-maxage") || directive == "proxy-revalidate";
    if (!directive.empty() && !shared) kept += ", " + directive;
  }
  return kept;
}

}  // namespace

domain::Headers guest_request_headers(const domain::Headers& received,
                                      const std::vector<std::string>& also) {
  domain::Headers forwarded;
  for (const domain::Header& header : received) {
    std::string name = to_lower(header.name);
    const bool wanted = contains(kForwarded, name) ||
                        std::ranges::any_of(also, [&](const auto& a) { return iequals(a, name); });
    if (wanted && !contains(kNeverForwarded, name)) {
      forwarded.push_back({std::move(name), header.value});
    }
  }
  return forwarded;
}

domain::Headers public_response_headers(const domain::Headers& guest) {
  domain::Headers answered;
  std::string cache_control = "no-store";
  for (const domain::Header& header : guest) {
    std::string name = to_lower(header.name);
    if (!domain::is_http_token(name) || !domain::is_header_value(header.value)) continue;
    if (name == "cache-control") {
      cache_control = private_cache_control(header.value);
    } else if (contains(kAnswered, name) || name.starts_with("x-ext-")) {
      answered.push_back({std::move(name), header.value});
    }
  }
  answered.push_back({"cache-control", std::move(cache_control)});
  answered.push_back({"content-security-policy", "default-src 'none'; sandbox"});
  answered.push_back({"x-content-type-options", "nosniff"});
  return answered;
}

Result<std::optional<std::string>> single_header(const domain::Headers& headers,
                                                 std::string_view name) {
  std::optional<std::string> value;
  for (const domain::Header& header : headers) {
    if (!iequals(header.name, name)) continue;
    if (value) {
      return fail(Kind::invalid, "gateway.ambiguous_header",
                  "the header " + std::string(name) + " appears more than once");
    }
    value = header.value;
  }
  return value;
}

Result<std::string> bearer_token(const domain::Headers& headers) {
  constexpr std::string_view kScheme = "bearer ";
  constexpr std::size_t kMaxToken = 16U << 10U;
  const auto refuse = [] {
    return fail(Kind::unauthenticated, "gateway.unauthenticated", "a token is needed");
  };
  TRY(const std::optional<std::string> authorization, single_header(headers, "authorization"));
  TRY(const std::optional<std::string> key, single_header(headers, "x-api-key"));
  std::string token;
  if (authorization &&
      iequals(std::string_view(*authorization).substr(0, kScheme.size()), kScheme)) {
    token = trim(std::string_view(*authorization).substr(kScheme.size()));
    if (key && !crypto::constant_time_equal(*key, token)) return refuse();
  } else if (!authorization && key) {
    token = *key;
  }
  if (!is_token_text(token) || token.size() > kMaxToken) return refuse();
  return token;
}

}  // namespace alga::gateway
