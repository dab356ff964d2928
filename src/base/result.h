#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace alga {

/// What sort of failure an Error is; decides the HTTP status at the edge and whether a retry helps.
enum class Kind : std::uint8_t {
  invalid,          ///< the caller sent something unacceptable (400)
  unauthenticated,  ///< no or bad credentials (401)
  denied,           ///< known caller, not allowed (403)
  not_found,        ///< (404)
  conflict,         ///< state does not permit it (409)
  gone,             ///< (410)
  too_large,        ///< a size limit (413)
  unprocessable,    ///< well-formed but contradictory (422)
  rate_limited,     ///< try later (429)
  internal,         ///< our fault (500)
  bad_gateway,      ///< another party's fault (502)
  unavailable,      ///< try again soon (503)
  timeout,          ///< (504)
};

/// The HTTP status that stands for a kind (RFC 9110).
[[nodiscard]] constexpr int http_status(Kind kind) {
  switch (kind) {
    case Kind::invalid: return 400;
    case Kind::unauthenticated: return 401;
    case Kind::denied: return 403;
    case Kind::not_found: return 404;
    case Kind::conflict: return 409;
    case Kind::gone: return 410;
    case Kind::too_large: return 413;
    case Kind::unprocessable: return 422;
    case Kind::rate_limited: return 429;
    case Kind::internal: return 500;
    case Kind::bad_gateway: return 502;
    case Kind::unavailable: return 503;
    case Kind::timeout: return 504;
  }
  return 500;
}

/// An expected failure. `code` is a stable machine-readable name, `module.snake_reason`, registered
/// in schema/error-codes.json and pointing to static storage. `message` is for people, names what
/// was wrong and never contains a secret. `retry_after_s` is 0 when there is no advice.
struct Error {
  Kind kind = Kind::internal;
  std::string_view code = "internal.unexpected";
  std::string message;
  std::uint32_t retry_after_s = 0;
};

template <class T>
using Result = std::expected<T, Error>;

/// Success without a value.
using Status = Result<void>;

/// `return fail(Kind::invalid, "manifest.bad_name", "…");`
[[nodiscard]] inline std::unexpected<Error> fail(Kind kind, std::string_view code,
                                                 std::string message = {}) {
  return std::unexpected(Error{kind, code, std::move(message)});
}

[[nodiscard]] inline std::unexpected<Error> fail(Error error) {
  return std::unexpected(std::move(error));
}

namespace detail {
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
}  // namespace detail

}  // namespace alga

/// A bug, not an expected failure: prints where and aborts, in every build.
#define ALGA_CHECK(expression) \
  ((expression) ? (void)0 : ::alga::detail::check_failed(#expression, __FILE__, __LINE__))

#define ALGA_CONCAT_INNER(a, b) a##b
#define ALGA_CONCAT(a, b) ALGA_CONCAT_INNER(a, b)

/// `TRY(auto value, parse(text));` binds the value or returns the error.
#define TRY(declaration, expression) \
  TRY_WITH(return, ALGA_CONCAT(alga_try_, __LINE__), declaration, expression)
/// `TRY_VOID(store.remove(key));` returns the error of a Status (or drops the value).
#define TRY_VOID(expression)                                  \
  do {                                                        \
    if (auto alga_status = (expression); !alga_status) {      \
      return std::unexpected(std::move(alga_status).error()); \
    }                                                         \
  } while (false)
/// The same inside a coroutine; the expression is usually `co_await …`.
#define CO_TRY(declaration, expression) \
  TRY_WITH(co_return, ALGA_CONCAT(alga_try_, __LINE__), declaration, expression)
#define CO_TRY_VOID(expression)                                  \
  do {                                                           \
    if (auto alga_status = (expression); !alga_status) {         \
      co_return std::unexpected(std::move(alga_status).error()); \
    }                                                            \
  } while (false)

#define TRY_WITH(leave, name, declaration, expression) \
  auto name = (expression);                            \
  if (!name) {                                         \
    leave std::unexpected(std::move(name).error());    \
  }                                                    \
  declaration = std::move(name).value()
