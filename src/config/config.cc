#include "config/config.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "config/values.h"

namespace alga::config {
namespace {

constexpr std::size_t longest_secret = std::size_t{64} << 10U;

std::unexpected<Error> unreadable(std::string_view name, const std::string& reason) {
  return fail(Kind::internal, "config.secret_unreadable", std::string(name) + ": " + reason);
}

Result<Secret> read_secret_file(std::string_view name, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return unreadable(name, "cannot open " + path);
  std::string text(longest_secret + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad()) return unreadable(name, "cannot read " + path);
  bool too_long = text.size() > longest_secret;
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  Secret secret(std::move(text));
  if (too_long) return unreadable(name, path + " is too long");
  if (secret.empty()) return unreadable(name, path + " is empty");
  return secret;
}

}  // namespace

std::string Fault::text() const {
  std::string out = where;
  if (!setting.empty()) out += (out.empty() ? "" : ": ") + setting;
  return out + (setting.empty() ? ": " : " ") + message;
}

const Config::Entry& Config::entry(std::string_view name, std::initializer_list<Type> types) const {
  auto found = entries_.find(name);
  auto setting = std::ranges::find(settings_, name, &Setting::name);
  ALGA_CHECK(found != entries_.end() && setting != settings_.end());
  ALGA_CHECK(types.size() == 0 || std::ranges::find(types, setting->type) != types.end());
  return found->second;
}

bool Config::flag(std::string_view name) const {
  return std::get<bool>(entry(name, {Type::flag}).value);
}
std::uint64_t Config::number(std::string_view name) const {
  return std::get<std::uint64_t>(entry(name, {Type::integer}).value);
}
std::uint64_t Config::size(std::string_view name) const {
  return std::get<std::uint64_t>(entry(name, {Type::size}).value);
}
std::chrono::milliseconds Config::duration(std::string_view name) const {
  return std::chrono::milliseconds{std::get<std::uint64_t>(entry(name, {Type::duration}).value)};
}
double Config::fraction(std::string_view name) const {
  return std::get<double>(entry(name, {Type::fraction}).value);
}
const std::string& Config::text(std::string_view name) const {
  return std::get<std::string>(
      entry(name, {Type::text, Type::path, Type::url, Type::address, Type::choice}).value);
}
const std::vector<std::string>& Config::list(std::string_view name) const {
  return std::get<std::vector<std::string>>(entry(name, {Type::list}).value);
}
const std::string& Config::secret_reference(std::string_view name) const {
  return std::get<std::string>(entry(name, {Type::secret}).value);
}
const std::string& Config::source(std::string_view name) const { return entry(name, {}).source; }
bool Config::is_set(std::string_view name) const { return !source(name).empty(); }

Result<std::optional<Secret>> Config::secret(std::string_view name) const {
  const auto& reference = std::get<std::string>(entry(name, {Type::secret}).value);
  if (reference.empty()) return std::nullopt;
  if (reference.starts_with("file:")) {
    TRY(Secret secret, read_secret_file(name, reference.substr(5)));
    return secret;
  }
  auto found = secret_environment_.find(reference.substr(4));
  if (found == secret_environment_.end() || found->second->empty()) {
    return unreadable(name, "the variable " + reference.substr(4) + " is not set");
  }
  return found->second->copy();
}

std::string Config::print_redacted() const {
  std::string out;
  std::string table;
  for (const Setting& setting : settings_) {
    std::size_t dot = setting.name.rfind('.');
    if (std::string next = setting.name.substr(0, dot); next != table) {
      table = next;
      out += (out.empty() ? "[" : "\n[") + table + "]\n";
    }
    const Entry& held = entries_.find(setting.name)->second;
    out += setting.name.substr(dot + 1) + " = " + write_toml(setting, held.value);
    out += held.source.empty() ? "\n" : "  # " + held.source + "\n";
  }
  return out;
}

}  // namespace alga::config
