#include "app/settings.h"

#include <cstdio>
#include <fstream>
#include <iterator>

namespace alga::app {
namespace {

config::Type type_of(domain::LimitUnit unit) {
  switch (unit) {
    case domain::LimitUnit::bytes: return config::Type::size;
    case domain::LimitUnit::milliseconds: return config::Type::duration;
    case domain::LimitUnit::count: break;
  }
  return config::Type::integer;
}

}  // namespace

std::vector<config::Setting> settings() {
  std::vector<config::LimitSetting> limits;
  for (const domain::LimitInfo& info : domain::all_limits()) {
    limits.push_back({info.name, type_of(info.unit), info.default_value, info.minimum, info.maximum,
                      info.description});
  }
  return config::all_settings(limits);
}

std::optional<config::Config> load_config(
    const std::string& file, const std::vector<std::pair<std::string, std::string>>& flags) {
  config::Sources sources;
  sources.environment = config::process_environment();
  sources.flags = flags;
  if (!file.empty()) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      std::fprintf(stderr, "%s: cannot be read\n", file.c_str());
      return std::nullopt;
    }
    sources.file_name = file;
    sources.file_text.assign(std::istreambuf_iterator<char>(in), {});
  }
  config::Loaded loaded = config::load(settings(), sources);
  for (const config::Fault& warning : loaded.warnings) {
    std::fprintf(stderr, "warning: %s\n", warning.text().c_str());
  }
  for (const config::Fault& fault : loaded.faults) {
    std::fprintf(stderr, "error: %s\n", fault.text().c_str());
  }
  if (!loaded.faults.empty()) return std::nullopt;
  return std::move(loaded.config);
}

std::uint64_t limit_value(const config::Config& config, domain::LimitUnit unit,
                          const std::string& name) {
  switch (unit) {
    case domain::LimitUnit::bytes: return config.size(name);
    case domain::LimitUnit::milliseconds:
      return static_cast<std::uint64_t>(config.duration(name).count());
    case domain::LimitUnit::count: break;
  }
  return config.number(name);
}

Result<domain::ServerLimits> server_limits(const config::Config& config) {
  domain::ServerLimits limits;
  for (const domain::LimitInfo& info : domain::all_limits()) {
    std::string name(info.name);
    TRY_VOID(limits.set_maximum(info.limit, limit_value(config, info.unit, "limits.max_" + name)));
    TRY_VOID(limits.set_value(info.limit, limit_value(config, info.unit, "limits." + name)));
  }
  return limits;
}

}  // namespace alga::app
