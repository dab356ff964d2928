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

/// As it would stand in a TOML file.
[[nodiscard]] std::string write_toml(const Setting& setting, const Value& value);

[[nodiscard]] std::string quote_toml(std::string_view text);

/// The candidate that is spelled most like `text`, or empty when none comes near.
[[nodiscard]] std::string nearest(std::string_view text,
                                  const std::vector<std::string>& candidates);

/// True when a URL-like text carries a password: `scheme://user:password@host`.
[[nodiscard]] bool has_url_password(std::string_view text);

}  // namespace alga::config
