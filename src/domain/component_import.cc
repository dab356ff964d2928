#include "domain/component_import.h"

#include <algorithm>
#include <array>
#include <span>

namespace alga::domain {
namespace {

/// `alga:extension/ui-proxy@1.0.0` in its parts; the version may be missing.
struct Import {
  explicit Import(std::string_view name) {
    const std::size_t at = name.find('@');
    if (at != std::string_view::npos) version = name.substr(at + 1);
    interface = name.substr(0, at);
    package = interface.substr(0, interface.find('/'));
  }
  std::string_view package;
  std::string_view interface;  ///< with its package
  std::string_view version;
};

struct Offer {
  std::string_view version;  ///< what every version that goes with it begins with; empty: none
  std::span<const std::string_view> interfaces;
};

constexpr std::array<std::string_view, 9> present{
    "alga:extension/types",   "alga:extension/context",  "alga:extension/config",
    "alga:extension/secrets", "alga:extension/http",     "alga:extension/storage",
    "alga:extension/logging", "alga:extension/ui-proxy", "alga:extension/user"};
/// Of the package without a version, as the earlier system had it.
constexpr std::array<std::string_view, 13> former{
    "alga:extension/types",     "alga:extension/context",   "alga:extension/secrets",
    "alga:extension/http",      "alga:extension/storage",   "alga:extension/logging",
    "alga:extension/ui-proxy",  "alga:extension/user",      "alga:extension/user-v2",
    "alga:extension/scheduler", "alga:extension/invoicing", "alga:extension/clients",
    "alga:extension/services"};
/// Between a core module's adapter and the host; each call is gated as a component's would be.
constexpr std::array<std::string_view, 1> legacy{"alga:legacy/host"};
/// What runners link of WASI 0.2; sockets are not among it.
constexpr std::array<std::string_view, 22> wasi{
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
    "wasi:http/types",
    "wasi:http/outgoing-handler",
};
constexpr std::array<Offer, 4> offers{
    {{"1.", present}, {"", former}, {"1.", legacy}, {"0.2.", wasi}}};

/// `1.0.0`, `1.4.2`; a pre-release goes with nothing but itself.
bool goes_with(std::string_view version, std::string_view offered) {
  if (offered.empty() || version.empty()) return offered.empty() && version.empty();
  return version.starts_with(offered) &&
         version.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

ImportStanding standing_of_import(std::string_view name) {
  const Import import(name);
  ImportStanding standing = ImportStanding::unknown;
  for (const Offer& offer : offers) {
    if (std::ranges::find(offer.interfaces, import.interface) == offer.interfaces.end()) continue;
    if (goes_with(import.version, offer.version)) return ImportStanding::offered;
    standing = ImportStanding::other_version;
  }
  return standing;
}

std::optional<Capability> capability_of_import(std::string_view name) {
  const Import import(name);
  // The `fetch` of the platform is the same host call as ours.
  if (import.interface == "wasi:http/outgoing-handler") return Capability::http_fetch;
  if (import.package != "alga:extension" || import.interface == import.package) return std::nullopt;
  return capability_of_interface(import.interface.substr(import.package.size() + 1));
}

}  // namespace alga::domain
