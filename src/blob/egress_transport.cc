#include "blob/egress_transport.h"

#include <algorithm>

namespace alga::blob {
namespace {

constexpr std::uint64_t kMaxErrorBody = 64U << 10U;
/// The answer to HEAD has the length of the object but no body.
constexpr std::uint64_t kNoLimit = 1ULL << 60U;

Error too_large(std::uint64_t max_bytes) {
  return {Kind::too_large, "blob.too_large",
          "the object is larger than " + std::to_string(max_bytes) + " bytes"};
}

Error as_blob_error(const Error& error, std::uint64_t max_bytes) {
  if (error.code == "egress.too_large") return too_large(max_bytes);
  if (!error.code.starts_with("egress.")) return error;  // the sink's own
  return {Kind::unavailable, "blob.unavailable", std::string(error.code) + ": " + error.message};
}

}  // namespace

Result<ObjectResponse> EgressTransport::send(const ObjectRequest& request, std::uint64_t max_bytes,
                                             domain::ByteSink& sink) {
  egress::ClientRequest outgoing{.method = request.method,
                                 .url = request.url,
                                 .headers = request.headers,
                                 .body_file = request.body_file,
                                 .timeout = request.timeout,
                                 .max_response_bytes = request.method == "HEAD"
                                                           ? kNoLimit
                                                           : std::max(max_bytes, kMaxErrorBody),
                                 .tls = tls_,
                                 .sink_success_only = true,
                                 .stop = stop_.get_token()};
  std::uint64_t received = 0;
  auto response = client_.send_blocking(std::move(outgoing),
                                        [&sink, &received, max_bytes](ByteSpan piece) -> Status {
                                          received += piece.size();
                                          if (received > max_bytes)
                                            return fail(too_large(max_bytes));
                                          return sink(piece);
                                        });
  if (!response) return fail(as_blob_error(response.error(), max_bytes));
  return ObjectResponse{response->status, std::move(response->headers),
                        std::move(response->body).value_or("")};
}

}  // namespace alga::blob
