#include "engine/bridge.h"

#include <utility>

namespace alga::engine {

ab_owned give(std::string bytes) {
  if (bytes.empty()) return {nullptr, 0, nullptr, nullptr};
  auto* box = new std::string(std::move(bytes));
  return {reinterpret_cast<const std::uint8_t*>(box->data()), box->size(),
          [](void* owned) { delete static_cast<std::string*>(owned); }, box};
}

std::unexpected<Error> bridge_error(ab_status status, ab_error* error) {
  std::string message = error != nullptr ? std::string(view(ab_error_message(error))) : "";
  ab_error_free(error);
  switch (status) {
    case AB_E_INVALID: return fail(Kind::invalid, "engine.bad_component", std::move(message));
    case AB_E_LINK: return fail(Kind::invalid, "engine.link_error", std::move(message));
    case AB_E_POOL_FULL: return fail(Kind::unavailable, "engine.overload", std::move(message));
    case AB_E_INCOMPATIBLE:
      return fail(Kind::internal, "engine.artefact_incompatible", std::move(message));
    case AB_OK:
    case AB_E_LIMIT:  // of an engine's own settings
    case AB_E_IO:
    case AB_E_PANIC: break;
  }
  return fail(Kind::internal, "engine.unavailable", std::move(message));
}

ab_engine_config artefact_settings() {
  ab_engine_config config;
  ab_engine_config_default(&config);
  // componentize-py makes 38 core modules of one handler. An instance costs what it is, not a slot.
  config.core_instances_per_component = 64;
  return config;
}

Result<EngineHandle> compile_engine() {
  ab_engine_config config = artefact_settings();
  config.pooling = 0;
  ab_engine* raw = nullptr;
  ab_error* error = nullptr;
  ab_status status = ab_engine_new(&config, nullptr, &raw, &error);
  if (status != AB_OK) return bridge_error(status, error);
  return EngineHandle{raw};
}

}  // namespace alga::engine
