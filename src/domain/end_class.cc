#include "domain/end_class.h"

#include <array>
#include <cstddef>

namespace alga::domain {
namespace {

constexpr std::array<EndClassInfo, 17> table{{
    {"ok", "", Fault::none, 200, 200, ""},
    {"guest_error", "engine.guest_error", Fault::author, 500, 502,
     "the handler threw or rejected; see the error and the log lines of this request"},
    {"cpu_limit", "engine.cpu_limit", Fault::author, 500, 504,
     "do less computing in one call, or ask the operator for a higher CPU limit"},
    {"wall_limit", "engine.wall_limit", Fault::author, 500, 504,
     "shorten or parallelise slow host calls, or ask for a higher timeout"},
    {"memory_limit", "engine.memory_limit", Fault::author, 500, 502,
     "hold less data at once, or ask for a higher memory limit"},
    {"table_limit", "engine.table_limit", Fault::author, 500, 502,
     "the component needs more table elements than this server allows"},
    {"hostcall_limit", "engine.hostcall_limit", Fault::author, 500, 502,
     "make fewer or smaller host calls, log less, or answer with a smaller response"},
    {"stack_overflow", "engine.stack_overflow", Fault::author, 500, 502,
     "the recursion is too deep"},
    {"trap", "engine.trap", Fault::author, 500, 502,
     "the component trapped; see the backtrace of this request"},
    {"link_error", "engine.link_error", Fault::author, 500, 502,
     "rebuild against interfaces that this server offers; the message names them"},
    {"cancelled", "engine.cancelled", Fault::caller, 499, 499, "the caller went away"},
    {"overload", "engine.overload", Fault::operator_or_tenant, 503, 503,
     "try again later; the server, the tenant or the install runs as many executions as it may"},
    {"capability_denied", "engine.capability_denied", Fault::operator_or_tenant, 500, 502,
     "declare the capability in the manifest and have it granted"},
    {"egress_denied", "engine.egress_denied", Fault::operator_or_tenant, 500, 502,
     "have the address allowed in the egress rules of the install"},
    {"bad_component", "engine.bad_component", Fault::author, 500, 502,
     "the bundle does not contain a component that can run"},
    {"refused", "runner.refused", Fault::caller, 400, 502,
     "nothing was run; the code says what the request, its grant or its envelope lacks"},
    {"platform", "engine.platform", Fault::platform, 500, 502, "report the request id"},
}};

}  // namespace

const EndClassInfo& info(EndClass end) { return table[static_cast<std::size_t>(end)]; }

}  // namespace alga::domain
