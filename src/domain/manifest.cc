#include "domain/manifest.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <initializer_list>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "domain/egress_policy.h"
#include "domain/endpoint.h"
#include "domain/secret_map.h"

namespace alga::domain {
namespace {

namespace bj = boost::json;

using Text = std::optional<std::string>;

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool all_of(std::string_view text, std::string_view punctuation) {
  return std::ranges::all_of(text,
                             [&](char c) { return is_alphanumeric(c) || punctuation.contains(c); });
}

bool is_name(std::string_view text) {
  return (is_alphanumeric(text.front()) || text.front() == '@') && all_of(text, "._@/ -");
}

/// Something, then `@` or `-`, then a version: `wasm-js@1`.
bool is_runtime(std::string_view text) {
  std::size_t mark = text.find_first_of("@-");
  return mark != std::string_view::npos && mark + 1 < text.size() &&
         std::ranges::count(text, '@') <= 1 && all_of(text, "._@-");
}

bool is_relative_path(std::string_view text) {
  return !text.starts_with('/') && !text.contains("..") && !text.contains('\\') &&
         !text.contains('\0');
}

bool is_endpoint_path(std::string_view text) {
  return !text.contains("..") && std::ranges::none_of(text, [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte <= 0x20 || byte == 0x7F || c == '?' || c == '#';
  });
}

/// Walks the document once, noting every fault, and builds the manifest on the way.
class Validator {
 public:
  ManifestReport run(const json::Value& document) {
    const bj::object* root = document.if_object();
    if (root == nullptr) {
      issue("", "manifest.wrong_type", "the manifest must be a JSON object");
    } else {
      read_identity(*root);
      read_capabilities(*root);
      read_egress(*root);
      manifest_.config = read_settings(*root, "config");
      manifest_.secrets = read_settings(*root, "secrets");
      read_ui(*root);
      read_api(*root);
      read_the_rest(*root);
      advise();
    }
    ManifestReport report{.issues = std::move(issues_), .warnings = std::move(warnings_)};
    if (report.issues.empty()) report.manifest = std::move(manifest_);
    return report;
  }

 private:
  void issue(std::string path, std::string_view code, std::string message) {
    // A hostile manifest must not make a hostile report.
    constexpr std::size_t most = 100;
    if (issues_.size() < most) {
      issues_.push_back({std::move(path), std::string(code), std::move(message)});
    }
  }
  void warn(std::string path, std::string_view code, std::string message) {
    warnings_.push_back({std::move(path), std::string(code), std::move(message)});
  }
  void wrong_type(std::string path, std::string_view expected) {
    issue(std::move(path), "manifest.wrong_type", "must be " + std::string(expected));
  }

  static const json::Value* find(const bj::object& object, std::string_view name) {
    const auto* member = object.find(name);
    return member == object.end() ? nullptr : &member->value();
  }

  /// A string member of 1 to `longest` bytes, if it is there.
  Text text(const bj::object& object, const std::string& parent, std::string_view name,
            std::size_t longest, bool may_be_empty = false) {
    const json::Value* value = find(object, name);
    if (value == nullptr) return std::nullopt;
    std::string path = parent + "/" + std::string(name);
    const bj::string* string = value->if_string();
    if (string == nullptr) {
      wrong_type(std::move(path), "a string");
      return std::nullopt;
    }
    if (string->size() > longest || (string->empty() && !may_be_empty)) {
      issue(std::move(path), "manifest.bad_value",
            "must have 1 to " + std::to_string(longest) + " bytes");
      return std::nullopt;
    }
    return std::string{string->data(), string->size()};
  }

  Text required_text(const bj::object& object, const std::string& parent, std::string_view name,
                     std::size_t longest) {
    if (!object.contains(name)) {
      issue(parent + "/" + std::string(name), "manifest.missing_member", "is missing");
      return std::nullopt;
    }
    return text(object, parent, name, longest);
  }

  /// Checks a text that is there; notes an issue and returns false when it does not hold.
  bool expect(bool holds, std::string path, std::string message) {
    if (!holds) issue(std::move(path), "manifest.bad_value", std::move(message));
    return holds;
  }

  const bj::object* object(const bj::object& parent, const std::string& parent_path,
                           std::string_view name) {
    const json::Value* value = find(parent, name);
    if (value == nullptr) return nullptr;
    if (!value->is_object()) wrong_type(parent_path + "/" + std::string(name), "an object");
    return value->if_object();
  }

  const bj::array* array(const bj::object& parent, const std::string& parent_path,
                         std::string_view name, std::size_t most) {
    const json::Value* value = find(parent, name);
    if (value == nullptr) return nullptr;
    std::string path = parent_path + "/" + std::string(name);
    const bj::array* list = value->if_array();
    if (list == nullptr) {
      wrong_type(std::move(path), "a list");
    } else if (list->size() > most) {
      issue(std::move(path), "manifest.bad_value",
            "must not have more than " + std::to_string(most) + " items");
      return nullptr;
    }
    return list;
  }

  /// Calls `each(text, path)` for every item; items that are no usable strings are issues.
  template <class Each>
  void strings(const bj::object& root, std::string_view name, std::size_t most, std::size_t longest,
               Each each) {
    const bj::array* list = array(root, "", name, most);
    if (list == nullptr) return;
    for (std::size_t i = 0; i < list->size(); ++i) {
      std::string path = "/" + std::string(name) + "/" + std::to_string(i);
      const bj::string* item = (*list)[i].if_string();
      if (item == nullptr) {
        wrong_type(std::move(path), "a string");
      } else if (trim(*item).empty() || item->size() > longest) {
        issue(std::move(path), "manifest.bad_value", "is empty or too long");
      } else {
        each(std::string{item->data(), item->size()}, path);
      }
    }
  }

  void read_identity(const bj::object& root) {
    if (Text name = required_text(root, "", "name", 200)) {
      expect(is_name(*name), "/name", "must consist of letters, digits, blanks and . _ @ / -");
      manifest_.name = *name;
    }
    manifest_.display_name = text(root, "", "displayName", 200).value_or(manifest_.name);
    manifest_.description = text(root, "", "description", 4000, true).value_or("");
    (void)text(root, "", "author", 200, true);
    manifest_.publisher = text(root, "", "publisher", 200);
    if (Text version = required_text(root, "", "version", 128)) {
      std::optional<SemVer> parsed = SemVer::parse(*version);
      if (expect(parsed.has_value(), "/version",
                 "must be MAJOR.MINOR.PATCH (semver.org) or MAJOR.MINOR.*")) {
        manifest_.version = *std::move(parsed);
      }
    }
    if (Text runtime = required_text(root, "", "runtime", 64)) {
      expect(is_runtime(*runtime), "/runtime", "must name a runtime and its version: wasm-js@1");
      manifest_.runtime = *runtime;
    }
    if (Text entry = text(root, "", "entry", 1024)) {
      expect(is_relative_path(*entry), "/entry", "must be a path inside the project");
    }
  }

  void read_capabilities(const bj::object& root) {
    strings(root, "capabilities", 64, 128, [&](const std::string& item, const std::string& path) {
      std::optional<Capability> capability = parse_capability(item);
      if (!capability) {
        issue(path, "manifest.unknown_capability", "is not a capability of this platform");
        return;
      }
      manifest_.capabilities.insert(*capability);
      switch (*capability) {
        case Capability::scheduler_manage:
        case Capability::invoice_manual_create:
        case Capability::client_read:
        case Capability::service_read:
          warn(path, "manifest.foreign_capability",
               "belongs to a host application; calls answer with \"denied\" here");
          break;
        default: break;
      }
    });
  }

  void read_egress(const bj::object& root) {
    strings(root, "egress", 100, 2048, [&](const std::string& item, const std::string& path) {
      Result<EgressPolicy> policy = EgressPolicy::parse({item});
      if (!policy) {
        std::string_view reason = policy.error().message;
        reason.remove_prefix(std::string_view{"rule 1: "}.size());
        issue(path, "manifest.bad_egress_rule", std::string(reason));
        return;
      }
      for (std::string& rule : policy->rules()) manifest_.egress.push_back(std::move(rule));
      for (std::string& advice : policy->warnings()) {
        warn(path, "manifest.wide_egress", std::move(advice));
      }
      if (policy->needs_operator()) {
        warn(path, "manifest.wide_egress", "only an operator can grant this rule");
      }
    });
  }

  std::map<std::string, DeclaredSetting> read_settings(const bj::object& root,
                                                       std::string_view name) {
    std::map<std::string, DeclaredSetting> out;
    const bj::object* settings = object(root, "", name);
    if (settings == nullptr) return out;
    std::string parent = "/" + std::string(name);
    expect(settings->size() <= 200, parent, "must not have more than 200 members");
    for (const auto& member : *settings) {
      if (!is_secret_name(member.key())) {
        issue(parent, "manifest.bad_value",
              "names consist of 1 to 128 letters, digits and _ . - without \"..\"");
        continue;
      }
      std::string path = parent + "/" + std::string(member.key());
      const bj::object* body = member.value().if_object();
      if (body == nullptr) {
        wrong_type(std::move(path), "an object");
        continue;
      }
      DeclaredSetting setting;
      setting.description = text(*body, path, "description", 1000, true).value_or("");
      setting.required = flag(*body, path, "required");
      refuse_others(*body, path, {"description", "required"});
      out.emplace(member.key(), std::move(setting));
    }
    return out;
  }

  bool flag(const bj::object& parent, const std::string& parent_path, std::string_view name) {
    const json::Value* value = find(parent, name);
    if (value == nullptr) return false;
    if (!value->is_bool()) wrong_type(parent_path + "/" + std::string(name), "true or false");
    return value->is_bool() && value->get_bool();
  }

  void read_ui(const bj::object& root) {
    const bj::object* ui = object(root, "", "ui");
    if (ui == nullptr) return;
    if (Text type = required_text(*ui, "/ui", "type", 64)) {
      expect(*type == "iframe", "/ui/type", "must be \"iframe\"");
    }
    if (Text entry = required_text(*ui, "/ui", "entry", 1024)) {
      if (expect(is_relative_path(*entry), "/ui/entry", "must be a path inside the bundle")) {
        manifest_.ui_entry = *entry;
      }
    }
    const bj::object* hooks = object(*ui, "/ui", "hooks");
    if (hooks == nullptr) return;
    manifest_.app_menu_label = read_hook(*hooks, "appMenu");
    manifest_.client_portal_label = read_hook(*hooks, "clientPortalMenu");
  }

  Text read_hook(const bj::object& hooks, std::string_view name) {
    const bj::object* hook = object(hooks, "/ui/hooks", name);
    if (hook == nullptr) return std::nullopt;
    return required_text(*hook, "/ui/hooks/" + std::string(name), "label", 200);
  }

  void read_api(const bj::object& root) {
    const bj::object* api = object(root, "", "api");
    if (api == nullptr) return;
    const bj::array* list = array(*api, "/api", "endpoints", 500);
    if (list == nullptr) return;
    manifest_.endpoints_declared = true;
    for (std::size_t i = 0; i < list->size(); ++i) {
      std::string path = "/api/endpoints/" + std::to_string(i);
      const bj::object* item = (*list)[i].if_object();
      if (item == nullptr) {
        wrong_type(std::move(path), "an object");
      } else {
        read_endpoint(*item, path);
      }
    }
  }

  void read_endpoint(const bj::object& item, const std::string& path) {
    constexpr std::array<std::string_view, 7> methods{"GET",    "POST",    "PUT", "PATCH",
                                                      "DELETE", "OPTIONS", "HEAD"};
    Endpoint endpoint;
    if (Text method = required_text(item, path, "method", 16)) {
      endpoint.method = *method;
      std::ranges::transform(endpoint.method, endpoint.method.begin(),
                             [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
      expect(std::ranges::find(methods, endpoint.method) != methods.end(), path + "/method",
             "must be one of GET POST PUT PATCH DELETE OPTIONS HEAD");
    }
    if (Text target = required_text(item, path, "path", 1024)) {
      expect(is_endpoint_path(*target), path + "/path",
             "must not have blanks, control characters, \"..\", ? or #");
      endpoint.path = normalise_endpoint_path(*target);
    }
    if (Text handler = text(item, path, "handler", 1024)) {
      expect(!handler->contains(".."), path + "/handler", "must not contain \"..\"");
    }
    (void)flag(item, path, "schedulable");
    (void)text(item, path, "description", 1000, true);
    bool twice = std::ranges::any_of(manifest_.endpoints, [&](const Endpoint& known) {
      return known.method == endpoint.method && known.path == endpoint.path;
    });
    if (twice) issue(path, "manifest.duplicate_endpoint", "is declared twice");
    manifest_.endpoints.push_back(std::move(endpoint));
  }

  void read_the_rest(const bj::object& root) {
    if (const bj::array* events = array(root, "", "events", 100)) {
      for (std::size_t i = 0; i < events->size(); ++i) {
        std::string path = "/events/" + std::to_string(i);
        const bj::object* event = (*events)[i].if_object();
        if (event == nullptr) {
          wrong_type(std::move(path), "an object");
          continue;
        }
        (void)required_text(*event, path, "topic", 1024);
        (void)required_text(*event, path, "handler", 1024);
      }
      warn("/events", "manifest.ignored_member", "events are not delivered on this platform");
    }
    strings(root, "assets", 1000, 1024, [](const std::string&, const std::string&) {});
    if (const bj::object* precompiled = object(root, "", "precompiled")) {
      for (const auto& target : *precompiled) {
        if (!target.value().is_string() || target.value().get_string().empty()) {
          wrong_type("/precompiled", "a map from target to path");
          break;
        }
      }
      warn("/precompiled", "manifest.ignored_member",
           "native code from a bundle is never loaded; publishing compiles");
    }
    if (Text sbom = text(root, "", "sbom", 1024)) {
      expect(is_relative_path(*sbom), "/sbom", "must be a path inside the bundle");
    }
    (void)text(root, "", "$schema", 2048, true);
    refuse_others(root, "",
                  {"$schema", "name", "displayName", "description", "publisher", "author",
                   "version", "runtime", "entry", "capabilities", "egress", "config", "secrets",
                   "ui", "api", "events", "assets", "precompiled", "sbom"});
  }

  void refuse_others(const bj::object& object, const std::string& parent,
                     std::initializer_list<std::string_view> known) {
    for (const auto& member : object) {
      std::string_view name = member.key();
      if (std::ranges::find(known, name) != known.end()) continue;
      // The name goes into reports and logs: shown only when it is plain.
      bool plain = is_secret_name(name);
      issue(plain ? parent + "/" + std::string(name) : parent, "manifest.unknown_member",
            plain ? "is not known here" : "has a member that is not known here");
    }
  }

  void advise() {
    if (!manifest_.publisher) {
      warn("/publisher", "manifest.no_publisher", "is taken from the account that publishes");
    }
    if (manifest_.endpoints.empty()) {
      warn("/api/endpoints", "manifest.no_endpoints",
           "no request reaches the handler until an endpoint is declared");
    }
    if (!manifest_.egress.empty() && !manifest_.capabilities.contains(Capability::http_fetch)) {
      warn("/egress", "manifest.egress_without_capability",
           "has no effect without the capability cap:http.fetch");
    }
    if (!manifest_.secrets.empty() && !manifest_.capabilities.contains(Capability::secrets_get)) {
      warn("/secrets", "manifest.secrets_without_capability",
           "cannot be read without the capability cap:secrets.get");
    }
  }

  Manifest manifest_;
  std::vector<ManifestIssue> issues_;
  std::vector<ManifestIssue> warnings_;
};

}  // namespace

ManifestReport validate_manifest(const json::Value& document) { return Validator{}.run(document); }

ManifestReport parse_manifest(std::string_view text) {
  Result<json::Value> document = json::parse(text, {.max_bytes = max_manifest_bytes});
  if (document) return validate_manifest(*document);
  ManifestReport report;
  report.issues.push_back({"", "manifest.malformed", document.error().message});
  return report;
}

std::string extension_slug(std::string_view publisher, std::string_view name) {
  std::string slug;
  for (char c : to_lower(std::string(publisher) + "." + std::string(name))) {
    bool kept = is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
    char next = kept ? c : '-';
    if (slug.empty() && !is_alphanumeric(next)) continue;
    if (slug.ends_with('.') && next == '.') continue;
    slug += next;
  }
  slug.resize(std::min<std::size_t>(slug.size(), 128));
  return is_identifier(slug) ? slug : "";
}

}  // namespace alga::domain
