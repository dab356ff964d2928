#pragma once

#include <cstdint>
#include <string_view>

namespace alga::domain {

/// How an execution ended. Names are stable: they appear in records, metrics and audit rows.
enum class EndClass : std::uint8_t {
  ok,                 ///< the handler answered, with whatever status
  guest_error,        ///< the handler threw, rejected or exited
  cpu_limit,          ///< used up its CPU time
  wall_limit,         ///< used up its wall-clock time
  memory_limit,       ///< asked for more memory than allowed
  table_limit,        ///< asked for more table elements than allowed
  hostcall_limit,     ///< too many host calls, bytes, log lines, handles or response bytes
  stack_overflow,     ///< the Wasm stack
  trap,               ///< another Wasm trap
  link_error,         ///< imports or exports do not fit the host
  cancelled,          ///< the caller went away or the server is stopping
  overload,           ///< not admitted
  capability_denied,  ///< needed a capability in a place where no error can be returned
  egress_denied,      ///< the handler gave up on hearing that the egress policy denies an address
  bad_component,      ///< the bytes are no component that can run
  refused,            ///< nothing ran: what was asked, or who asked, was not accepted
  platform,           ///< our fault
};

/// Whose fault an end is.
enum class Fault : std::uint8_t { none, author, operator_or_tenant, caller, platform };

struct EndClassInfo {
  std::string_view name;  ///< `wall_limit`
  std::string_view code;  ///< `engine.wall_limit`
  Fault fault;
  std::uint16_t status;  ///< in the body of `/v1/execute`
  std::uint16_t gateway_status;
  std::string_view advice;  ///< what to change, for the author or the operator
};

[[nodiscard]] const EndClassInfo& info(EndClass end);

}  // namespace alga::domain
