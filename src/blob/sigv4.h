#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"
#include "domain/http.h"

namespace alga::blob {

/// Keys of an S3 account; `session_token` is empty for long-lived ones.
struct S3Credentials {
  std::string access_key_id;
  Secret secret_access_key;
  std::string session_token;
};

/// Decoded query parameters.
using Query = std::vector<std::pair<std::string, std::string>>;

/// A request as Signature Version 4 sees it ("Create a signed AWS API request", AWS General
/// Reference). `path` is decoded and begins with `/`; every header given is signed and must include
/// `host` and `x-amz-date`.
struct SigV4Request {
  std::string method;
  std::string path;
  Query query;
  domain::Headers headers;
  std::string payload_sha256;  ///< hex, or `UNSIGNED-PAYLOAD`
};

/// Percent-encodes all but the unreserved characters of RFC 3986, with upper-case digits.
[[nodiscard]] std::string uri_encode(std::string_view text, bool keep_slashes);
/// `a=1&b=2`, encoded and sorted: as signed and as to be sent.
[[nodiscard]] std::string canonical_query(const Query& query);
/// `20150830T123600Z`
[[nodiscard]] std::string amz_date(WallTime time);

[[nodiscard]] std::string canonical_request(const SigV4Request& request);

/// Value of the `authorization` header. The path is encoded once, as S3 wants it.
[[nodiscard]] std::string sigv4_authorization(const SigV4Request& request,
                                              const S3Credentials& credentials,
                                              std::string_view region, std::string_view service,
                                              WallTime time);

}  // namespace alga::blob
