#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "config/schema.h"

namespace alga::config {

/// integer, size and duration (milliseconds) are uint64.
using Value = std::variant<bool, std::uint64_t, double, std::string, std::vector<std::string>>;

/// Something wrong with the configuration, for people.
struct Fault {
  /// `algad.toml:12`, `environment ALGA_LOG_LEVEL`, `--set log.level`, `--role`; joined with " and
  /// " when it is about several settings.
  std::string where;
  std::string setting;  ///< its name, or empty
  std::string code;     ///< `config.unknown_key` …
  std::string message;  ///< never repeats the value of a secret
  [[nodiscard]] std::string text() const;
};

/// A setting on the command line.
struct Flag {
  std::string setting;
  std::string value;
  std::string option;  ///< `--role`, when it has one of its own; else it came with `--set`
};

/// Where values come from, lowest first.
struct Sources {
  std::string file_name;                           ///< for messages; empty: no file
  std::string file_text;                           ///< TOML
  std::map<std::string, std::string> environment;  ///< all of it
  std::vector<Flag> flags;
};

/// The configuration in force. Immutable. Asking for a setting that does not exist, or by the wrong
/// type, is a bug and ends the process.
class Config {
 public:
  [[nodiscard]] bool flag(std::string_view name) const;
  [[nodiscard]] std::uint64_t number(std::string_view name) const;  ///< integer
  [[nodiscard]] std::uint64_t size(std::string_view name) const;    ///< bytes
  [[nodiscard]] std::chrono::milliseconds duration(std::string_view name) const;
  [[nodiscard]] double fraction(std::string_view name) const;
  /// text, path, url, address and choice.
  [[nodiscard]] const std::string& text(std::string_view name) const [[clang::lifetimebound]];
  [[nodiscard]] const std::vector<std::string>& list(std::string_view name) const
      [[clang::lifetimebound]];
  /// True when somebody set it: it is not the default.
  [[nodiscard]] bool is_set(std::string_view name) const;
  /// Where its value was said, as in Fault::where; empty when it is the default.
  [[nodiscard]] const std::string& source(std::string_view name) const [[clang::lifetimebound]];

  /// Reads the secret behind the reference now: the file (64 KiB at most, one line end at its end
  /// taken off) or the environment variable as it was at loading. None when the setting is empty.
  /// Error: `config.secret_unreadable`, without the content.
  [[nodiscard]] Result<std::optional<Secret>> secret(std::string_view name) const;
  /// Where that secret comes from: `file:…`, `env:…` or empty.
  [[nodiscard]] const std::string& secret_reference(std::string_view name) const
      [[clang::lifetimebound]];

  /// TOML of every setting, with its source as a comment. References of secrets are shown, secrets
  /// are not; what looks like a credential in another value is replaced.
  [[nodiscard]] std::string print_redacted() const;

  [[nodiscard]] const std::vector<Setting>& settings() const [[clang::lifetimebound]] {
    return settings_;
  }

 private:
  friend class Loader;
  struct Entry {
    Value value;
    std::string source;  ///< empty: default
  };
  [[nodiscard]] const Entry& entry(std::string_view name, std::initializer_list<Type> types) const;

  std::vector<Setting> settings_;
  std::map<std::string, Entry, std::less<>> entries_;
  /// Only the variables that a secret refers to. Shared, because secrets do not copy.
  std::map<std::string, std::shared_ptr<const Secret>, std::less<>> secret_environment_;
};

/// The configuration exists exactly when there is no fault.
struct Loaded {
  std::optional<Config> config;
  std::vector<Fault> faults;
  std::vector<Fault> warnings;
};

/// Reads everything, reports everything at once: each item of a list that is not acceptable, and
/// what settings demand of one another as far as those settings could be read. Codes:
/// `config.malformed` (TOML syntax), `config.unknown_key`, `config.wrong_type`, `config.bad_value`,
/// `config.out_of_range`, `config.secret_in_clear`, `config.incomplete` (settings that need one
/// another), and those of the settings' demands.
[[nodiscard]] Loaded load(std::vector<Setting> settings, const Sources& sources);

/// The environment of this process.
[[nodiscard]] std::map<std::string, std::string> process_environment();

}  // namespace alga::config
