#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "base/bytes.h"
#include "config/config.h"
#include "config/rules.h"
#include "config/values.h"

namespace alga::config {
namespace {

/// Environment names that begin like ours and belong to building and testing.
constexpr std::string_view foreign_names[] = {"ALGA_CACHE", "ALGA_JOBS",  "ALGA_FIXTURES",
                                              "ALGA_URL",   "ALGA_TOKEN", "ALGA_TENANT",
                                              "ALGA_SERVER"};

std::optional<std::vector<std::string>> texts_of(const toml::array& array) {
  std::vector<std::string> out;
  for (const toml::node& item : array) {
    const auto* text = item.as_string();
    if (text == nullptr) return std::nullopt;
    out.push_back(text->get());
  }
  return out;
}

std::optional<Typed> typed_of(const toml::node& node) {
  if (const auto* flag = node.as_boolean()) return Typed{flag->get()};
  if (const auto* number = node.as_integer()) return Typed{number->get()};
  if (const auto* number = node.as_floating_point()) return Typed{number->get()};
  if (const auto* text = node.as_string()) return Typed{text->get()};
  if (const toml::array* array = node.as_array()) {
    if (auto texts = texts_of(*array)) return Typed{*std::move(texts)};
  }
  return std::nullopt;
}

/// A host of the reference's allow-list stands for itself and for every name below it.
std::string egress_rules(std::string_view hosts) {
  std::string out;
  while (!hosts.empty()) {
    std::size_t comma = std::min(hosts.find(','), hosts.size());
    std::string host(trim(hosts.substr(0, comma)));
    hosts.remove_prefix(std::min(comma + 1, hosts.size()));
    if (host.empty()) continue;
    for (std::string_view start : {"https://", "https://*.", "http://", "http://*."}) {
      out += (out.empty() ? "" : ",") + std::string(start) + host;
    }
  }
  return out;
}

std::string aliased_text(const EnvironmentAlias& alias, const std::string& value) {
  switch (alias.meaning) {
    case Alias::value: return value;
    case Alias::port: return "0.0.0.0:" + value;
    case Alias::secret_itself: return "env:" + alias.name;
    case Alias::secret_file: return "file:" + value;
    case Alias::egress_hosts: return egress_rules(value);
  }
  return value;
}

}  // namespace

class Loader {
 public:
  Loader(std::vector<Setting> settings, const Sources& sources) : sources_(sources) {
    config_.settings_ = std::move(settings);
    for (const Setting& setting : config_.settings_) {
      Result<Value> value = read_text(setting, setting.default_text);
      ALGA_CHECK(value.has_value() && faults_of(setting, *value).empty());
      config_.entries_.emplace(setting.name, Config::Entry{*std::move(value), ""});
      names_.push_back(setting.name);
    }
  }

  Loaded run() {
    read_file();
    read_environment();
    for (const Flag& flag : sources_.flags) {
      take_text(flag.setting, flag.value,
                flag.option.empty() ? "--set " + printable(flag.setting) : flag.option);
    }
    keep_secret_environment();
    for (Fault& fault : check_rules(config_, doubtful_)) {
      loaded_.faults.push_back(std::move(fault));
    }
    if (loaded_.faults.empty()) loaded_.config = std::move(config_);
    return std::move(loaded_);
  }

 private:
  static std::string printable(std::string_view text) {
    std::string out(utf8_prefix(text, 100));
    for (char& c : out) {
      auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte == 0x7F) c = '?';
    }
    return out;
  }

  const Setting* find(std::string_view name) const {
    auto found = std::ranges::find(config_.settings_, name, &Setting::name);
    return found == config_.settings_.end() ? nullptr : &*found;
  }

  void fault(std::string where, std::string_view setting, const Error& error) {
    loaded_.faults.push_back(
        {std::move(where), std::string(setting), std::string(error.code), error.message});
  }

  /// Nothing is said of a setting that seems to be meant, beyond that its name is wrong.
  void unknown(std::string where, std::string_view name) {
    std::string advice = nearest(name, names_);
    fault(std::move(where), printable(name),
          {Kind::invalid, "config.unknown_key",
           "is not a setting" + (advice.empty() ? "" : "; did you mean " + advice + "?")});
    if (!advice.empty()) doubtful_.insert(std::move(advice));
  }

  /// The same for a table with whatever stands in it.
  void unknown_table(std::string where, const std::string& name) {
    std::set<std::string> tables;
    for (const std::string& known : names_) {
      for (std::size_t dot = known.find('.'); dot != std::string::npos;
           dot = known.find('.', dot + 1)) {
        tables.insert(known.substr(0, dot));
      }
    }
    const std::string advice = nearest(name, {tables.begin(), tables.end()});
    fault(std::move(where), "[" + printable(name) + "]",
          {Kind::invalid, "config.unknown_key",
           "is not a table of settings" +
               (advice.empty() ? "" : "; did you mean [" + advice + "]?")});
    for (const std::string& known : names_) {
      if (!advice.empty() && known.starts_with(advice + ".")) doubtful_.insert(known);
    }
  }

  /// `items` says where each item of a list stands, when the source knows.
  void accept(const Setting& setting, Result<Value> value, const std::string& where,
              const std::vector<std::string>& items = {}) {
    if (!value) {
      doubtful_.insert(setting.name);
      return fault(where, setting.name, value.error());
    }
    const std::vector<ItemFault> wrong = faults_of(setting, *value);
    for (const ItemFault& found : wrong) {
      fault(found.item < items.size() ? items[found.item] : where, setting.name, found.error);
    }
    if (!wrong.empty()) {
      doubtful_.insert(setting.name);
      return;
    }
    config_.entries_.find(setting.name)->second = {*std::move(value), where};
  }

  void take_text(std::string_view name, std::string_view text, const std::string& where) {
    const Setting* setting = find(name);
    if (setting == nullptr) return unknown(where, name);
    accept(*setting, read_text(*setting, text), where);
  }

  std::string place(const toml::source_region& region) const {
    return sources_.file_name + ":" + std::to_string(region.begin.line);
  }

  void read_file() {
    if (sources_.file_text.empty()) return;
    try {
      toml::table root = toml::parse(std::string_view{sources_.file_text}, sources_.file_name);
      read_table(root, "");
    } catch (const toml::parse_error& error) {
      fault(place(error.source()), "",
            {Kind::invalid, "config.malformed", std::string(error.description())});
      // It may say anything.
      doubtful_.insert(names_.begin(), names_.end());
    }
  }

  void read_table(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      std::string name = prefix + std::string(key.str());
      std::string where = place(key.source());
      const toml::table* child = node.as_table();
      if (const Setting* setting = find(name)) {
        in_file_.insert(name);
        std::optional<Typed> typed = typed_of(node);
        accept(*setting,
               typed ? read_typed(*setting, *typed)
                     : fail(Kind::invalid, "config.wrong_type", "is a value of another kind"),
               where, places_of(node));
      } else if (child != nullptr && is_table_name(name)) {
        read_table(*child, name + ".");
      } else if (child != nullptr) {
        unknown_table(std::move(where), name);
      } else if (is_table_name(name)) {
        fault(std::move(where), printable(name),
              {Kind::invalid, "config.wrong_type",
               "is a table of settings, written once: [" + name + "]"});
        for (const std::string& known : names_) {
          if (known.starts_with(name + ".")) doubtful_.insert(known);
        }
      } else {
        unknown(std::move(where), name);
      }
    }
  }

  std::vector<std::string> places_of(const toml::node& node) const {
    std::vector<std::string> places;
    if (const toml::array* array = node.as_array()) {
      for (const toml::node& item : *array) places.push_back(place(item.source()));
    }
    return places;
  }

  bool is_table_name(const std::string& name) const {
    return std::ranges::any_of(
        names_, [&](const std::string& known) { return known.starts_with(name + "."); });
  }

  void read_environment() {
    std::set<std::string, std::less<>> known(std::begin(foreign_names), std::end(foreign_names));
    for (const Setting& setting : config_.settings_) {
      // Our own name is read last: it wins over the reference's.
      for (const EnvironmentAlias& alias : setting.aliases) {
        known.insert(alias.name);
        take_variable(setting, alias);
      }
      // One name is both: ALGA_VAULT_TOKEN holds the token itself, as in the reference.
      std::string own = setting.environment_name();
      if (std::ranges::find(setting.aliases, own, &EnvironmentAlias::name) ==
          setting.aliases.end()) {
        take_variable(setting, {own, Alias::value});
      }
      known.insert(std::move(own));
    }
    for (const auto& [name, value] : sources_.environment) {
      if (!name.starts_with("ALGA_") || known.contains(name)) continue;
      std::string advice = nearest(name, {known.begin(), known.end()});
      loaded_.warnings.push_back(
          {"environment " + printable(name), "", "config.unknown_key",
           "is not a setting" + (advice.empty() ? "" : "; did you mean " + advice + "?")});
    }
  }

  void take_variable(const Setting& setting, const EnvironmentAlias& alias) {
    auto found = sources_.environment.find(alias.name);
    // An empty variable is how container set-ups say "not set".
    if (found == sources_.environment.end() || found->second.empty()) return;
    Result<Value> value = read_text(setting, aliased_text(alias, found->second));
    std::string where = "environment " + alias.name;
    // `S3_ACCESS_KEY` in somebody's shell is hardly meant to overrule the file; ALGA_… is.
    if (in_file_.contains(setting.name) && !alias.name.starts_with("ALGA_")) {
      const Config::Entry& held = config_.entries_.find(setting.name)->second;
      if (value && *value == held.value) return;
      loaded_.warnings.push_back({std::move(where), setting.name, "config.overruled",
                                  "comes from " + held.source + ", which goes before it; " +
                                      setting.environment_name() + " would go before the file"});
      return;
    }
    accept(setting, std::move(value), where);
  }

  void keep_secret_environment() {
    for (const Setting& setting : config_.settings_) {
      if (setting.type != Type::secret) continue;
      const auto& reference =
          std::get<std::string>(config_.entries_.find(setting.name)->second.value);
      if (!reference.starts_with("env:")) continue;
      std::string name = reference.substr(4);
      auto found = sources_.environment.find(name);
      if (found == sources_.environment.end()) continue;
      config_.secret_environment_.try_emplace(name, std::make_shared<const Secret>(found->second));
    }
  }

  const Sources& sources_;
  std::vector<std::string> names_;
  std::set<std::string, std::less<>> in_file_;  ///< settings that the file names
  Names doubtful_;                              ///< settings whose value is not known
  Config config_;
  Loaded loaded_;
};

Loaded load(std::vector<Setting> settings, const Sources& sources) {
  return Loader(std::move(settings), sources).run();
}

std::map<std::string, std::string> process_environment() {
  std::map<std::string, std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    std::string_view text = *entry;
    std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    out.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return out;
}

}  // namespace alga::config
