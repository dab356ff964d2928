#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/capability.h"
#include "domain/ports/install_configs.h"
#include "domain/semver.h"
#include "json/parse.h"

namespace alga::domain {

inline constexpr std::size_t max_manifest_bytes = std::size_t{256} << 10U;

/// A configuration key or secret that an extension says it reads.
struct DeclaredSetting {
  std::string description;
  bool required = false;
};

/// manifest.json, version 2, as schema/manifest.schema.json describes it: everything that both
/// validators of the reference accept and that has one meaning.
struct Manifest {
  std::string name;
  std::string display_name;
  std::string description;
  std::optional<std::string> publisher;
  SemVer version;
  std::string runtime;
  CapabilitySet capabilities;       ///< as asked, without the defaults
  std::vector<std::string> egress;  ///< canonical rules, as asked
  std::map<std::string, DeclaredSetting> config;
  std::map<std::string, DeclaredSetting> secrets;
  std::optional<std::string> ui_entry;
  std::optional<std::string> app_menu_label;
  std::optional<std::string> client_portal_label;
  std::vector<Endpoint> endpoints;  ///< normalised: upper-case method, leading slash
  bool endpoints_declared = false;  ///< `api.endpoints` was there, even empty
};

/// `path` is the JSON pointer of the culprit: the missing member, when one is missing.
struct ManifestIssue {
  std::string path;
  std::string code;
  std::string message;
};

/// The manifest exists exactly when there is no issue. Warnings do not stop anything.
struct ManifestReport {
  std::optional<Manifest> manifest;
  std::vector<ManifestIssue> issues;
  std::vector<ManifestIssue> warnings;
};

/// All faults at once, in the order of the members' importance. Codes of issues:
/// `manifest.malformed`, `manifest.missing_member`, `manifest.wrong_type`, `manifest.bad_value`,
/// `manifest.unknown_member`, `manifest.unknown_capability`, `manifest.bad_egress_rule`,
/// `manifest.duplicate_endpoint`; of warnings: `manifest.no_publisher`, `manifest.no_endpoints`,
/// `manifest.ignored_member`, `manifest.foreign_capability`, `manifest.wide_egress`,
/// `manifest.egress_without_capability`, `manifest.secrets_without_capability`.
[[nodiscard]] ManifestReport validate_manifest(const json::Value& document);

/// From text; text that is not strict JSON or too large is one issue at the root.
[[nodiscard]] ManifestReport parse_manifest(std::string_view text);

/// `lower(publisher + "." + name)`, where what may not stand in a URL segment becomes `-`. Empty
/// when nothing usable is left.
[[nodiscard]] std::string extension_slug(std::string_view publisher, std::string_view name);

}  // namespace alga::domain
