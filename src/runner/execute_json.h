#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "domain/execute.h"
#include "json/parse.h"

namespace alga::runner {

/// What a body of `POST /v1/execute` may be: the payload of the guest's request in base64, and what
/// stands around it.
[[nodiscard]] constexpr std::size_t max_execute_body(std::uint64_t max_payload) {
  constexpr std::size_t around = std::size_t{1} << 20U;
  return static_cast<std::size_t>((max_payload + 2) / 3 * 4) + around;
}

/// Reads the body of `POST /v1/execute`, the reference's or our gateway's. Unknown members are
/// ignored. `http.header_list` and a `http.url` that agrees with `http.path` are preferred to the
/// maps, which lose repeated names; a `query` map is appended sorted. A body that is no base64 is
/// left out and marked. Errors: `json.*`, `runner.invalid_request` for identifiers and hashes,
/// `limit.invalid`, `secret.malformed`. No message repeats a value.
[[nodiscard]] Result<domain::ExecuteRequest> execute_request_from_json(std::string_view text,
                                                                       std::size_t max_bytes);

/// The answer: the reference's members, then ours. Header values that are no UTF-8 are taken for
/// Latin-1.
[[nodiscard]] std::string execute_response_to_json(const domain::ExecuteResponse& response,
                                                   std::string_view request_id);

}  // namespace alga::runner
