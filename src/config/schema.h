#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace alga::config {

enum class Type : std::uint8_t {
  flag,      ///< true, false
  integer,   ///< whole number within [min, max]
  size,      ///< bytes: a whole number, or "64 KiB", "10MiB", "2GiB"
  duration,  ///< milliseconds: a whole number, or "500ms", "30s", "5m", "24h", "14d"
  fraction,  ///< 0 to 1
  text,      ///< one line
  path,      ///< a file or folder; may be empty
  url,       ///< absolute http(s) URL without credentials, query and fragment; may be empty
  address,   ///< `host:port`, port 0 to 65535; may be empty
  choice,    ///< one of `choices`
  list,      ///< texts; when `choices` is given, each one of them
  secret,    ///< never a value: `file:/path`, `env:NAME`, or empty
};

/// What an environment name of the reference system means.
enum class Alias : std::uint8_t {
  value,          ///< the setting's value
  port,           ///< the port part of an address; the host becomes 0.0.0.0
  secret_itself,  ///< the environment holds the secret: the setting becomes `env:NAME`
  secret_file,    ///< the environment names a file: the setting becomes `file:VALUE`
  egress_hosts,   ///< comma list of hosts, each meaning itself and what is below it
};

struct EnvironmentAlias {
  std::string name;
  Alias meaning = Alias::value;
};

/// What a text (or each item of a list) must be beyond its type: the rule of whoever will use it.
/// The message goes on after the setting's name (`must be a network such as 10.0.0.0/8`) and never
/// repeats the text. The error's code stands when it is one of `config.*`, else
/// `config.bad_value` does. Not asked for an empty text.
using Demand = std::function<Status(const std::string& text)>;

/// One setting: everything that loading, checking and documenting it needs.
struct Setting {
  std::string name;  ///< `gateway.timeout`: table and key of the file
  Type type = Type::text;
  std::string default_text;  ///< as it would stand in the environment
  std::string description;
  std::vector<std::string> choices;
  std::uint64_t min = 0;
  std::uint64_t max = std::numeric_limits<std::int64_t>::max();
  std::vector<EnvironmentAlias> aliases;
  Demand demand = nullptr;  ///< of a text, path, url or list

  /// `ALGA_GATEWAY_TIMEOUT`.
  [[nodiscard]] std::string environment_name() const;
};

/// A limit of the platform as the domain lists it; gives `limits.<name>` and `limits.max_<name>`.
struct LimitSetting {
  std::string_view name;
  Type type = Type::integer;  ///< integer, size or duration
  std::uint64_t default_value = 0;
  std::uint64_t min = 0;
  std::uint64_t max = 0;
  std::string_view description;
};

/// All settings of algad, grouped by table, in the order of the documentation. Names and
/// environment names are unique, defaults valid (held by a test).
[[nodiscard]] std::vector<Setting> all_settings(std::span<const LimitSetting> limits);

/// docs/configuration.md.
[[nodiscard]] std::string reference_markdown(std::span<const Setting> settings);

}  // namespace alga::config
