#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "config/schema.h"

namespace alga::config {

/// A value as a source gave it. The environment and flags only know text.
struct Typed {
  std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>> value;
};

/// From a TOML value: flags must be booleans, numbers numbers, and so on. Errors (Kind::invalid):
/// `config.wrong_type`, `config.bad_value`, `config.out_of_range`, `config.secret_in_clear`.
[[nodiscard]] Result<Value> read_typed(const Setting& setting, const Typed& typed);

/// From text: `true`, `30s`, `a, b`. The same errors.
[[nodiscard]] Result<Value> read_text(const Setting& setting, std::string_view text);

/// What is wrong with one item of a list, or with the text itself (item 0).
struct ItemFault {
  std::size_t item = 0;
  Error error;  ///< its message goes on after the setting's name
};

/// What the reading above lets through and the items of a list, or the setting's own demand,
/// refuse; every item is looked at. The codes of Setting::demand, `config.bad_value`,
/// `config.secret_in_clear`.
[[nodiscard]] std::vector<ItemFault> faults_of(const Setting& setting, const Value& value);

/// As it would stand in a TOML file.
[[nodiscard]] std::string write_toml(const Setting& setting, const Value& value);

[[nodiscard]] std::string quote_toml(std::string_view text);

/// The candidate that is spelled most like `text`, or empty when none comes near.
[[nodiscard]] std::string nearest(std::string_view text,
                                  const std::vector<std::string>& candidates);

/// Whether the text is an absolute http(s) URL with a host, a port that may be dialled, and without
/// credentials, query and fragment. Errors: `config.bad_value`, `config.secret_in_clear`.
[[nodiscard]] Status check_url(std::string_view text);

/// True when a URL-like text carries a password: `scheme://user:password@host`.
[[nodiscard]] bool has_url_password(std::string_view text);

}  // namespace alga::config
