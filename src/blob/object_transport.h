#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "domain/http.h"
#include "domain/ports/bundle_store.h"

namespace alga::blob {

/// One HTTP exchange with an object server.
struct ObjectRequest {
  std::string method;
  std::string url;  ///< absolute, already encoded
  domain::Headers headers;
  std::string body_file;  ///< path of the body; empty: no body
  std::uint64_t body_bytes = 0;
  std::chrono::milliseconds timeout{60'000};
};

struct ObjectResponse {
  std::uint16_t status = 0;
  domain::Headers headers;
  std::string error_body;  ///< up to 64 KiB of what came with a status that is not 2xx
};

/// How the remote stores reach their server. Blocks; thread-safe. Connections are kept; redirects
/// are answers, not followed.
class ObjectTransport {
 public:
  virtual ~ObjectTransport() = default;
  /// The body of a 2xx answer goes to `sink`, of which at most `max_bytes` are read
  /// (`blob.too_large`). An error of the sink comes back as it is; no connection, a broken one or a
  /// timeout is `blob.unavailable`.
  virtual Result<ObjectResponse> send(const ObjectRequest& request, std::uint64_t max_bytes,
                                      domain::ByteSink& sink) = 0;
  /// See BundleStore::abort().
  virtual void abort() noexcept {}
  /// Whether abort() has been called: no further attempt mends what fails then.
  [[nodiscard]] virtual bool is_aborted() const noexcept { return false; }
};

}  // namespace alga::blob
