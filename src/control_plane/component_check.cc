#include "control_plane/component_check.h"

#include <fmt/format.h>

#include "domain/component_import.h"

namespace alga::control_plane {
namespace {

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
    const domain::ImportStanding standing = domain::standing_of_import(name);
    if (standing != domain::ImportStanding::offered) {
      const bool known = standing == domain::ImportStanding::other_version;
      add_issue(issues, "component.unknown_import",
                fmt::format("the component imports {}, which the runner does not offer{}", name,
                            known ? " in this version" : ""));
      continue;
    }
    auto guard = domain::capability_of_import(name);
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
