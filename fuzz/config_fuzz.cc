#include <string>

#include "config/config.h"
#include "property.h"

// What loads can be printed, and what was printed loads to the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alga::config;
  using alga::fuzz::must;
  const std::string text(alga::fuzz::text_of(data, size));
  Loaded loaded = load(all_settings({}), {.file_name = "fuzz", .file_text = text});
  must(loaded.config.has_value() == loaded.faults.empty(), "a configuration or faults");
  if (!loaded.config) return 0;
  const std::string printed = loaded.config->print_redacted();
  Loaded again = load(all_settings({}), {.file_name = "fuzz", .file_text = printed});
  must(again.config.has_value(), "what was printed loads");
  for (const Setting& setting : again.config->settings()) {
    bool same = true;
    switch (setting.type) {
      case Type::list:
        same = again.config->list(setting.name) == loaded.config->list(setting.name);
        break;
      case Type::duration:
        same = again.config->duration(setting.name) == loaded.config->duration(setting.name);
        break;
      case Type::size:
        same = again.config->size(setting.name) == loaded.config->size(setting.name);
        break;
      case Type::fraction:
        same = again.config->fraction(setting.name) == loaded.config->fraction(setting.name);
        break;
      default: break;
    }
    must(same, "a value survives printing");
  }
  return 0;
}
