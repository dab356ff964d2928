#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "domain/end_class.h"
#include "domain/execute.h"
#include "httpd/message.h"

namespace alga::gateway {

/// An answer of the gateway itself: `{"error","code","request_id","requestId"}` plus `message`
/// where it can only speak of the caller's own request. `error` is the reference's word.
[[nodiscard]] httpd::Response refusal(const Error& error, std::string_view request_id);

/// How an execution ended, as caller, execution log and metrics see it.
struct Ending {
  httpd::Response response;
  std::string status;       ///< `ok`, `upstream_error`, `error`, `timeout`
  std::string error;        ///< short code for the execution log, or empty
  bool repeatable = false;  ///< may be given again for the same idempotency key
};

/// The guest's answer with its headers filtered, or a refusal that names a code and no detail: what
/// went wrong inside belongs to the author.
[[nodiscard]] Ending conclude(domain::ExecuteResponse response, std::string_view request_id);

/// The caller waited longer than a guest may take.
[[nodiscard]] Ending conclude_timeout(std::string_view request_id);

/// By name, as ExecuteResponse carries it.
[[nodiscard]] std::optional<domain::EndClass> parse_end_class(std::string_view name);

}  // namespace alga::gateway
