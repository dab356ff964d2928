#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/task.h"
#include "base/clock.h"
#include "base/result.h"
#include "domain/http.h"

namespace alga::httpd {

/// Who is at the other end of the connection.
struct Peer {
  std::string address;  ///< textual IP without port
  bool tls = false;
  /// Identities of a verified client certificate (DNS and URI SANs), empty without mTLS.
  std::vector<std::string> certificate_names;
  std::string certificate_sha256;  ///< hex, empty without mTLS
};

/// A whole request. `path` is percent-encoded as received and has been checked: no control
/// characters, no encoded slash, backslash, NUL or dot segment. Path parameters are decoded.
struct Request {
  std::string method;
  std::string path;
  std::string query;  ///< as received, without `?`
  domain::Headers headers;
  std::string body;       ///< up to the route's max_body; empty when spooled
  std::string body_file;  ///< route with spool: path of a temporary file, removed afterwards
  std::string body_sha256;  ///< hex; filled when the route spools
  std::uint64_t body_size = 0;
  std::map<std::string, std::string, std::less<>> params;
  Peer peer;
  std::string request_id;  ///< the caller's when it is an identifier, else a new UUIDv7
  SteadyTime received;

  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const
      [[clang::lifetimebound]] {
    return domain::find_header(headers, name);
  }
  /// First value of a query parameter, decoded (application/x-www-form-urlencoded).
  [[nodiscard]] std::optional<std::string> query_param(std::string_view name) const;
};

/// Called repeatedly to produce a streamed body; an empty string ends it (used for SSE).
using BodyStream = std::move_only_function<async::Task<Result<std::string>>()>;

/// `no-store`, `x-request-id` and `x-content-type-options` are added unless set.
struct Response {
  std::uint16_t status = 200;
  domain::Headers headers;
  std::string body;
  std::string file;  ///< serve this file instead of `body` (Range and HEAD handled by the server)
  BodyStream stream;

  void set(std::string_view name, std::string value);
};

[[nodiscard]] Response json_response(std::uint16_t status, std::string json);
/// `{"error":{"code","message","request_id"}}` with `Retry-After` when the error has advice.
[[nodiscard]] Response error_response(const Error& error, std::string_view request_id);

using Handler = std::function<async::Task<Response>(Request)>;

struct RouteOptions {
  std::uint64_t max_body = 1U << 20U;  ///< bytes; more is 413 before it is buffered
  bool spool = false;                  ///< body to a temporary file, hashed while it arrives
};

/// Method and path to handler. Patterns: `/a/{name}/b`, and `{name...}` for the rest as last part.
/// Literal segments win over parameters. An unknown path is 404 `http.not_found`, a known path with
/// another method 405 `http.method_not_allowed` with `Allow`.
class Router {
 public:
  struct Match {
    const Handler* handler = nullptr;
    RouteOptions options;
    std::map<std::string, std::string, std::less<>> params;
    std::vector<std::string> allowed;  ///< when the method does not fit
    std::string_view pattern;          ///< for metrics
  };
  void add(std::string_view method, std::string_view pattern, RouteOptions options,
           Handler handler);
  void add(std::string_view method, std::string_view pattern, Handler handler) {
    add(method, pattern, RouteOptions{}, std::move(handler));
  }
  [[nodiscard]] Match match(std::string_view method, std::string_view path) const
      [[clang::lifetimebound]];
  /// Every registered (method, pattern), for the test that holds the OpenAPI document to the server.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> routes() const;

 private:
  struct Route {
    std::string method, pattern;
    std::vector<std::string> segments;
    RouteOptions options;
    Handler handler;
  };
  std::vector<Route> routes_;
};

}  // namespace alga::httpd
