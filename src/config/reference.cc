#include <algorithm>

#include "config/config.h"
#include "config/schema.h"
#include "config/values.h"

namespace alga::config {
namespace {

std::string_view type_name(Type type) {
  switch (type) {
    case Type::flag: return "flag";
    case Type::integer: return "number";
    case Type::size: return "size";
    case Type::duration: return "duration";
    case Type::fraction: return "fraction";
    case Type::text: return "text";
    case Type::path: return "path";
    case Type::url: return "URL";
    case Type::address: return "address";
    case Type::choice: return "choice";
    case Type::list: return "list";
    case Type::secret: return "secret";
  }
  return "";
}

std::string default_of(const Setting& setting) {
  Result<Value> value = read_text(setting, setting.default_text);
  std::string text = value ? write_toml(setting, *value) : "";
  return text == "\"\"" || text == "[]" ? "–" : "`" + text + "`";
}

std::string range_of(const Setting& setting) {
  bool ranged =
      setting.type == Type::integer || setting.type == Type::size || setting.type == Type::duration;
  constexpr auto unbounded = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!ranged || setting.max == unbounded) return "";
  auto bare = [&](std::uint64_t number) {
    std::string text = write_toml(setting, Value{number});
    std::erase(text, '"');
    return text;
  };
  return " From " + bare(setting.min) + " to " + bare(setting.max) + ".";
}

std::string notes_of(const Setting& setting) {
  std::string out = setting.description + ".";
  if (!setting.choices.empty()) {
    std::string choices;
    for (const std::string& choice : setting.choices) {
      choices += (choices.empty() ? "`" : ", `") + choice + "`";
    }
    out += " One of " + choices + ".";
  }
  out += range_of(setting);
  if (!setting.aliases.empty()) {
    std::string names;
    for (const EnvironmentAlias& alias : setting.aliases) {
      names += (names.empty() ? "`" : ", `") + alias.name + "`";
    }
    out += " Also read from " + names + ".";
  }
  return out;
}

}  // namespace

std::string Setting::environment_name() const {
  std::string out = "ALGA_" + name;
  for (char& c : out) {
    if (c == '.') c = '_';
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::string reference_markdown(std::span<const Setting> settings) {
  std::string out = R"(# Configuration

This page is generated from the table in `src/config/settings.cc`; a test holds it to the code.

algad reads one TOML file (`--config`), over it the environment, over that `--set NAME=VALUE`. A setting
`gateway.timeout` stands in the file as `timeout` under `[gateway]` and in the environment as
`ALGA_GATEWAY_TIMEOUT`. Names of the reference system are accepted where they mean the same: those that
begin with `ALGA_` go before the file, too, the others (`PORT`, `S3_ACCESS_KEY`, `VAULT_ADDR`) count only
where the file says nothing; a warning names those that the file overrules. Of several names for one
setting our own wins. Unknown tables and keys, wrong types, values out of range, items of a list that nobody
could use and settings that lack one another are errors, all reported at once with code, file, line and the
nearest name; what comes from elsewhere is named by its variable or flag. `algad check-config` only checks, and
refuses whatever a start would refuse because of the settings alone: it opens no file that they name, no secret
and no connection. `algad print-config --redacted` prints what is in force and where it comes from.

* **sizes** are bytes (`1024`) or `"64KiB"`, `"10MiB"`, `"2GiB"`; **durations** are milliseconds (`500`) or
  `"500ms"`, `"30s"`, `"5m"`, `"24h"`, `"14d"`; **lists** are comma-separated in the environment.
* **secrets** never stand in the configuration: a setting of this kind names where the secret is,
  `"file:/run/secrets/token"` (read when used; one line end at its end is dropped) or `"env:NAME"`.
)";
  std::string table;
  for (const Setting& setting : settings) {
    std::size_t dot = setting.name.rfind('.');
    if (std::string next = setting.name.substr(0, dot); next != table) {
      table = next;
      out += "\n## `[" + table + "]`\n\n| setting | kind | default | what |\n|---|---|---|---|\n";
    }
    out += "| `" + setting.name.substr(dot + 1) + "` | " + std::string(type_name(setting.type)) +
           " | " + default_of(setting) + " | " + notes_of(setting) + " |\n";
  }
  return out;
}

}  // namespace alga::config
