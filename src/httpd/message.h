#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
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
  std::string address;  ///< textual IP without port; the client's, where a trusted proxy names it
  std::string socket_address;  ///< of the connection itself, whatever anybody says about it
  /// Somebody has passed the request on: it comes from a trusted proxy, or has a header by which
  /// proxies show themselves. Who sends none and is not known as one looks like a client.
  bool forwarded = false;
  bool tls = false;
  /// The client speaks TLS: to us, or to a trusted proxy.
  bool secure = false;
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
  std::string body;         ///< up to the route's max_body; empty when spooled
  std::string body_file;    ///< route with spool: path of a temporary file, removed afterwards
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

/// `no-store`, `x-request-id`, `date` and `x-content-type-options` are added unless set. The server
/// owns the framing: `content-length`, `transfer-encoding` and hop-by-hop fields set here are
/// dropped. A field that is no valid header turns the answer into a 500.
struct Response {
  std::uint16_t status = 200;
  domain::Headers headers;
  std::string body;
  /// Serve this file instead of `body`: Range, HEAD and, with an `etag`, If-None-Match and If-Range
  /// are handled by the server.
  std::string file;
  /// Lives until the answer has been sent; for whoever holds `file` in its place.
  std::shared_ptr<const void> keep;
  BodyStream stream;
  std::string code;  ///< of a problem; not sent, its body says it

  /// Replaces every field of that name.
  void set(std::string_view name, std::string value);
};

[[nodiscard]] Response json_response(std::uint16_t status, std::string json);
/// `{"error":{"code","message","request_id"}}` with `Retry-After` when the error has advice.
[[nodiscard]] Response error_response(const Error& error, std::string_view request_id);

/// The same with a status that no Kind stands for.
[[nodiscard]] Response problem_response(std::uint16_t status, std::string_view code,
                                        std::string_view message, std::string_view request_id);

/// Runs on the connection's I/O thread. An exception that leaves it is answered with 500
/// `http.internal` and logged. At the end of a drain its coroutine is cancelled.
using Handler = std::function<async::Task<Response>(Request)>;

/// Looks at a request before its body is read (`body` is empty); a Response refuses it. For routes
/// with large bodies: authenticate here, so that strangers cannot fill the disk.
using Admission = std::function<async::Task<std::optional<Response>>(Request)>;

struct RouteOptions {
  std::uint64_t max_body = 1U << 20U;  ///< bytes; more is 413 before it is buffered
  bool spool = false;                  ///< body to a temporary file, hashed while it arrives
  Admission admit;                     ///< optional
  /// Told of requests that the handler never sees: those that the admission refuses, and those
  /// whose body is too large, comes too slowly or finds no room. On the I/O thread; does not throw.
  std::function<void(const Request&, const Response&)> refused;
  /// Told of each body above max_body, and may answer it in place of `http.body_too_large`;
  /// optional. Callers are admitted first then, so that it hears of no stranger's.
  std::function<std::optional<Response>(const Request&)> too_large;
  /// Cancel the handler within a quarter of a second when the client has closed its connection,
  /// or its sending half of it. For handlers that can be cancelled at every await.
  bool cancel_when_client_leaves = false;
};

/// Method and path to handler. Patterns: `/a/{name}/b`, and `{name...}` as last part for the rest,
/// which also matches when nothing follows. Method `*` takes what no other route of the path names;
/// HEAD falls back to GET. Literal segments win over parameters, parameters over the rest. An
/// unknown path is 404 `http.not_found`, a known path with another method 405
/// `http.method_not_allowed` with `Allow`. Filled once, then shared between threads unchanged.
class Router {
 public:
  struct Match {
    const Handler* handler = nullptr;
    const RouteOptions* options = nullptr;
    std::map<std::string, std::string, std::less<>> params;
    std::vector<std::string> allowed;  ///< when the method does not fit
    std::string_view pattern;          ///< for metrics
    std::size_t route = 0;             ///< place in routes()
  };
  /// Tells whether a router takes the routes of a pattern.
  using Takes = std::function<bool(std::string_view pattern)>;
  Router();
  /// A router for part of the routes: add() passes over patterns that `takes` refuses, so that the
  /// same roles can be asked for their routes for each of several listeners.
  explicit Router(Takes takes);
  ~Router();
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;

  /// Adding the same method and pattern twice is a bug and aborts, as is a malformed pattern.
  void add(std::string_view method, std::string_view pattern, RouteOptions options,
           Handler handler);
  void add(std::string_view method, std::string_view pattern, Handler handler) {
    add(method, pattern, RouteOptions{}, std::move(handler));
  }
  /// `path` has passed check_path().
  [[nodiscard]] Match match(std::string_view method, std::string_view path) const
      [[clang::lifetimebound]];
  /// Every registered (method, pattern), for the test that holds the OpenAPI document to the
  /// server.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> routes() const;

 private:
  struct Route;
  struct Node;
  struct Search;
  Takes takes_;  ///< empty: every pattern
  std::vector<std::unique_ptr<Route>> routes_;
  std::unique_ptr<Node> root_;
};

}  // namespace alga::httpd
