#include "app/settings.h"

#include <cstdio>

#include "app/complaint.h"
#include "app/input_file.h"
#include "app/setting_demands.h"

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

/// Far more than a configuration needs; a log or a database named by mistake ends here.
constexpr std::size_t max_config_bytes = 4U << 20U;

}  // namespace

std::vector<config::Setting> settings() {
  std::vector<config::LimitSetting> limits;
  for (const domain::LimitInfo& info : domain::all_limits()) {
    limits.push_back({info.name, type_of(info.unit), info.default_value, info.minimum, info.maximum,
                      info.description});
  }
  std::vector<config::Setting> all = config::all_settings(limits);
  add_demands(all);
  return all;
}

std::optional<config::Config> load_config(const std::string& file,
                                          const std::vector<config::Flag>& flags) {
  config::Sources sources;
  sources.environment = config::process_environment();
  sources.flags = flags;
  if (!file.empty()) {
    Result<std::string> text = read_whole_file(file, max_config_bytes, "config.file_unreadable");
    if (!text) {
      complain(text.error());
      return std::nullopt;
    }
    sources.file_name = file;
    sources.file_text = std::move(*text);
  }
  config::Loaded loaded = config::load(settings(), sources);
  for (const config::Fault& warning : loaded.warnings) {
    std::fprintf(stderr, "warning: %s: %s\n", warning.code.c_str(), warning.text().c_str());
  }
  for (const config::Fault& fault : loaded.faults) {
    std::fprintf(stderr, "error: %s: %s\n", fault.code.c_str(), fault.text().c_str());
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
