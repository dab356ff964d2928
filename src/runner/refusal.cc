#include "runner/refusal.h"

#include <string>

namespace alga::runner {

using domain::EndClass;

domain::ExecuteResponse failure(std::uint16_t status, std::string_view prefix, const Error& error,
                                EndClass end) {
  return {.status = status,
          .headers = {},
          .error = std::string(prefix) + std::string(error.code),
          .code = std::string(error.code),
          .retry_after_s = error.retry_after_s,
          .end_class = std::string(domain::info(end).name)};
}

EndClass end_of_refusal(const Error& error, Vouched vouched) {
  switch (error.kind) {
    case Kind::internal:
    case Kind::bad_gateway:
    case Kind::unavailable:
    case Kind::timeout: return EndClass::platform;
    case Kind::rate_limited: return EndClass::overload;
    case Kind::invalid:
    case Kind::unauthenticated:
    case Kind::denied:
    case Kind::not_found:
    case Kind::conflict:
    case Kind::gone:
    case Kind::too_large:
    case Kind::unprocessable: break;
  }
  return vouched == Vouched::yes ? EndClass::platform : EndClass::refused;
}

EndClass end_of_fetch(const Error& error, Vouched vouched) {
  const bool unpacked = error.kind == Kind::invalid && error.code.starts_with("archive.");
  if (unpacked || error.kind == Kind::too_large) return EndClass::bad_component;
  // Nobody's request can make a store refuse its reader, or keep other bytes than their name says.
  if (error.kind != Kind::not_found) return EndClass::platform;
  return end_of_refusal(error, vouched);
}

}  // namespace alga::runner
