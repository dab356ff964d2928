#include "domain/capability.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/bytes.h"

namespace alga::domain {
namespace {

constexpr std::string_view prefix = "cap:";

constexpr std::array<std::string_view, capability_count> full_names{
    "cap:context.read",     "cap:config.read",
    "cap:log.emit",         "cap:user.read",
    "cap:secrets.get",      "cap:http.fetch",
    "cap:storage.kv",       "cap:ui.proxy",
    "cap:scheduler.manage", "cap:invoice.manual.create",
    "cap:client.read",      "cap:service.read",
};

/// Spellings of older documents, manifests and SDKs.
constexpr std::pair<std::string_view, Capability> older_spellings[] = {
    {"alga.storage", Capability::storage_kv}, {"storage", Capability::storage_kv},
    {"secrets", Capability::secrets_get},     {"http", Capability::http_fetch},
    {"ui-proxy", Capability::ui_proxy},       {"ui.proxy.call", Capability::ui_proxy},
    {"logging", Capability::log_emit},
};

constexpr std::pair<std::string_view, Capability> interfaces[] = {
    {"context", Capability::context_read},
    {"config", Capability::config_read},
    {"secrets", Capability::secrets_get},
    {"http", Capability::http_fetch},
    {"storage", Capability::storage_kv},
    {"logging", Capability::log_emit},
    {"ui-proxy", Capability::ui_proxy},
    {"user", Capability::user_read},
    {"user-v2", Capability::user_read},
    {"scheduler", Capability::scheduler_manage},
    {"invoicing", Capability::invoice_manual_create},
    {"clients", Capability::client_read},
    {"services", Capability::service_read},
};

/// For the message that names an unknown capability: one visible, bounded word.
std::string presentable(std::string_view text) {
  constexpr std::size_t longest = 64;
  std::string word(utf8_prefix(text, longest));
  for (char& c : word) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) c = '?';
  }
  if (word.size() < text.size()) word += "…";
  return word;
}

}  // namespace

std::string_view name(Capability capability) {
  return full_names[static_cast<std::size_t>(capability)];
}

std::optional<Capability> parse_capability(std::string_view text) {
  std::string normalised = to_lower(trim(text));
  std::string_view bare = normalised;
  if (bare.starts_with(prefix)) bare.remove_prefix(prefix.size());
  for (std::size_t i = 0; i < full_names.size(); ++i) {
    if (full_names[i].substr(prefix.size()) == bare) return static_cast<Capability>(i);
  }
  for (const auto& [spelling, capability] : older_spellings) {
    if (spelling == bare) return capability;
  }
  return std::nullopt;
}

std::optional<Capability> capability_of_interface(std::string_view interface) {
  for (const auto& [known, capability] : interfaces) {
    if (known == interface) return capability;
  }
  return std::nullopt;
}

std::vector<std::string> CapabilitySet::names() const {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < capability_count; ++i) {
    if (bits_.test(i)) out.emplace_back(full_names[i]);
  }
  std::ranges::sort(out);
  return out;
}

CapabilitySet default_capabilities() {
  return {Capability::context_read, Capability::log_emit, Capability::user_read};
}

Result<CapabilitySet> parse_capabilities(std::span<const std::string> names) {
  CapabilitySet set;
  std::string unknown;
  constexpr std::size_t most_named = 2048;
  for (const std::string& text : names) {
    if (std::optional<Capability> capability = parse_capability(text)) {
      set.insert(*capability);
    } else if (unknown.size() < most_named) {
      if (!unknown.empty()) unknown += ", ";
      unknown += presentable(to_lower(trim(text)));
    }
  }
  // An empty name is unknown too, though it leaves nothing to show.
  bool all_known = std::ranges::all_of(
      names, [](const std::string& text) { return parse_capability(text).has_value(); });
  if (!all_known) {
    return fail(Kind::invalid, "capability.unknown", "unknown_capabilities: " + unknown);
  }
  return set;
}

}  // namespace alga::domain
