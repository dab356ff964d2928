#pragma once

#include <string>
#include <string_view>

// What the server's log and the audit trail may say of the targets of host calls: enough to see
// which interface of whom was used, nothing that names a customer.

namespace alga::engine {

/// Two first and two last characters of a longer identifier; never the whole of it.
[[nodiscard]] std::string redact(std::string_view text);

/// A path with `:id` for each segment that looks like an identifier: numbers, UUIDs, hashes,
/// tokens, addresses of e-mail, anything that is not made of the characters of words. At most 200
/// characters; a longer one ends in `…`.
[[nodiscard]] std::string redact_path(std::string_view path);

/// Scheme, host and redacted path of a URL, without user, query and fragment.
[[nodiscard]] std::string redact_url(std::string_view url);

}  // namespace alga::engine
