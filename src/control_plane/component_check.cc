#include "control_plane/component_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace alga::control_plane {
namespace {

/// `alga:extension/ui-proxy@1.0.0` in its parts; the version may be missing.
struct Import {
  std::string_view package;
  std::string_view interface;
  std::string_view version;
};

Import split(std::string_view name) {
  Import import;
  std::size_t at = name.find('@');
  if (at != std::string_view::npos) import.version = name.substr(at + 1);
  name = name.substr(0, at);
  std::size_t slash = name.find('/');
  import.package = name.substr(0, slash);
  if (slash != std::string_view::npos) import.interface = name.substr(slash + 1);
  return import;
}

constexpr std::array<std::string_view, 14> kOwnInterfaces{
    "types",    "context", "config",  "secrets",   "http",      "storage", "logging",
    "ui-proxy", "user",    "user-v2", "scheduler", "invoicing", "clients", "services"};
/// What the runner links of WASI 0.2; sockets are not among it.
constexpr std::array<std::string_view, 6> kWasiPackages{
    "wasi:io", "wasi:clocks", "wasi:random", "wasi:cli", "wasi:filesystem", "wasi:http"};

bool is_known(const Import& import) {
  if (import.package == "alga:extension") {
    bool version = import.version.empty() || import.version.starts_with("1.");
    return version && std::ranges::find(kOwnInterfaces, import.interface) != kOwnInterfaces.end();
  }
  // Between a core module's adapter and the host; each call is gated as a component's would be.
  if (import.package == "alga:legacy") {
    return import.interface == "host" && import.version == "1.0.0";
  }
  return std::ranges::find(kWasiPackages, import.package) != kWasiPackages.end() &&
         import.version.starts_with("0.2.");
}

/// The capability without which the import would be denied at run time.
std::optional<domain::Capability> guard_of(const Import& import) {
  if (import.package == "alga:extension") return domain::capability_of_interface(import.interface);
  if (import.package == "wasi:http" && import.interface == "outgoing-handler") {
    return domain::Capability::http_fetch;
  }
  return std::nullopt;
}

void add_issue(boost::json::array& issues, std::string_view code, std::string message) {
  issues.push_back(boost::json::object{{"code", code}, {"message", message}});
}

void check_slots(const domain::ComponentReport& report, boost::json::array& issues) {
  for (const std::string& text : report.beyond_slots) {
    add_issue(issues, "component.beyond_slots", "an instance would need " + text);
  }
}

void check_shape(const domain::ComponentReport& report, const PublishPolicy& policy,
                 boost::json::array& issues) {
  if (report.file_bytes > policy.max_component_bytes) {
    add_issue(issues, "component.too_large",
              fmt::format("the component has {} bytes, {} are allowed", report.file_bytes,
                          policy.max_component_bytes));
  }
  if (!report.exports_handler) {
    add_issue(
        issues, "component.no_handler",
        "the component does not export the function `handler` of world alga:extension/runner");
  }
}

void check_imports(const domain::ComponentReport& report, const domain::Manifest& manifest,
                   const PublishPolicy& policy, boost::json::array& issues,
                   std::vector<PublishWarning>& warnings) {
  auto declared = manifest.capabilities.united(domain::default_capabilities());
  for (const std::string& name : report.imports) {
    Import import = split(name);
    if (!is_known(import)) {
      add_issue(issues, "component.unknown_import",
                fmt::format("the component imports {}, which the runner does not offer", name));
      continue;
    }
    auto guard = guard_of(import);
    if (!guard || declared.contains(*guard)) continue;
    std::string message = fmt::format(
        "the component imports {}, but the manifest does not ask for {}: calls will be "
        "denied",
        name, domain::name(*guard));
    if (policy.exact_imports) {
      add_issue(issues, "component.undeclared_import", std::move(message));
    } else {
      warnings.push_back({"component.undeclared_import", std::move(message)});
    }
  }
}

}  // namespace

PublishResult<std::vector<PublishWarning>> check_component(const domain::ComponentReport& report,
                                                           const domain::Manifest& manifest,
                                                           const PublishPolicy& policy,
                                                           WallTime now) {
  if (report.kind == domain::ComponentReport::Kind::core_module) {
    bool accepted = policy.legacy_modules_until && now < *policy.legacy_modules_until;
    if (!accepted) {
      return refuse(Kind::unprocessable, "component.core_module", "COMPONENT_REQUIRED",
                    "dist/main.wasm is a core module; build a component or wrap it with `alga "
                    "migrate wrap`");
    }
    return std::vector<PublishWarning>{
        {"component.core_module", "core modules will be refused after the enforcement date"}};
  }
  boost::json::array issues;
  std::vector<PublishWarning> warnings;
  check_shape(report, policy, issues);
  check_slots(report, issues);
  check_imports(report, manifest, policy, issues, warnings);
  if (report.frozen_clock || report.frozen_random) {
    warnings.push_back({report.frozen_clock ? "component.frozen_clock" : "component.frozen_random",
                        "the component was built with clocks or random disabled: Date.now() and "
                        "crypto.randomUUID() give the same answer on every call"});
  }
  if (report.sparse_image_bytes != 0) {
    warnings.push_back(
        {"component.sparse_image",
         fmt::format(
             "its data is strewn over {} bytes of memory, which every execution writes anew",
             report.sparse_image_bytes)});
  }
  if (!issues.empty()) {
    return refuse(Kind::unprocessable, "component.refused", "INVALID_COMPONENT",
                  "the component cannot run here", std::move(issues));
  }
  return warnings;
}

}  // namespace alga::control_plane
