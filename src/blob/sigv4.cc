#include "blob/sigv4.h"

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "crypto/digest.h"

namespace alga::blob {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

bool is_unreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

/// Trims, and makes one blank of several.
std::string normal_value(std::string_view value) {
  std::string out;
  for (const char c : trim(value)) {
    if (c == ' ' && out.ends_with(' ')) continue;
    out += c;
  }
  return out;
}

/// Lower-case name to value; repeated headers are joined by commas in their order.
std::map<std::string, std::string> canonical_headers(const domain::Headers& headers) {
  std::map<std::string, std::string> result;
  for (const domain::Header& header : headers) {
    const auto [place, fresh] =
        result.try_emplace(to_lower(header.name), normal_value(header.value));
    if (!fresh) place->second += ',' + normal_value(header.value);
  }
  return result;
}

std::string signed_headers(const std::map<std::string, std::string>& headers) {
  std::string names;
  for (const auto& [name, value] : headers) names += (names.empty() ? "" : ";") + name;
  return names;
}

crypto::Digest hmac(ByteSpan key, std::string_view text) {
  return crypto::hmac_sha256(key, as_bytes(text));
}

}  // namespace

std::string uri_encode(std::string_view text, bool keep_slashes) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c) || (c == '/' && keep_slashes)) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
  return out;
}

std::string canonical_query(const Query& query) {
  Query encoded;
  for (const auto& [name, value] : query) {
    encoded.emplace_back(uri_encode(name, false), uri_encode(value, false));
  }
  std::ranges::sort(encoded);
  std::string out;
  for (const auto& [name, value] : encoded) {
    if (!out.empty()) out += '&';
    out.append(name).append("=").append(value);
  }
  return out;
}

std::string amz_date(WallTime time) {
  std::string out;
  for (const char c : format_rfc3339(std::chrono::floor<std::chrono::seconds>(time))) {
    if (c == '.') break;
    if (c != '-' && c != ':' && c != 'Z') out += c;
  }
  return out + 'Z';
}

std::string canonical_request(const SigV4Request& request) {
  const auto headers = canonical_headers(request.headers);
  std::string text = request.method + '\n' + uri_encode(request.path, true) + '\n' +
                     canonical_query(request.query) + '\n';
  for (const auto& [name, value] : headers) text.append(name).append(":").append(value) += '\n';
  return text + '\n' + signed_headers(headers) + '\n' + request.payload_sha256;
}

std::string sigv4_authorization(const SigV4Request& request, const S3Credentials& credentials,
                                std::string_view region, std::string_view service, WallTime time) {
  const std::string date = amz_date(time);
  const std::string day = date.substr(0, 8);
  const std::string scope =
      day + '/' + std::string(region) + '/' + std::string(service) + "/aws4_request";
  const std::string to_sign = std::string(kAlgorithm) + '\n' + date + '\n' + scope + '\n' +
                              crypto::sha256_hex(canonical_request(request));
  const Secret seed("AWS4" + std::string(credentials.secret_access_key.reveal()));
  const crypto::Digest day_key = hmac(as_bytes(seed.reveal()), day);
  const crypto::Digest region_key = hmac(day_key, region);
  const crypto::Digest service_key = hmac(region_key, service);
  const crypto::Digest signing_key = hmac(service_key, "aws4_request");
  return std::string(kAlgorithm) + " Credential=" + credentials.access_key_id + '/' + scope +
         ", SignedHeaders=" + signed_headers(canonical_headers(request.headers)) +
         ", Signature=" + hex_encode(hmac(signing_key, to_sign));
}

}  // namespace alga::blob
